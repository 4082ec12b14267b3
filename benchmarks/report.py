"""`python -m benchmarks.report FILE ...`: the tables of runs, in Markdown."""

import argparse
import importlib
import json
import pathlib
import statistics
from collections.abc import Callable
from typing import Any


def table(case: str, results: list[dict[str, Any]]) -> list[str]:
    """Returns the lines of one benchmark: candidates by sizes, medians and quartiles."""
    title = importlib.import_module(f"benchmarks.{case}").__doc__.splitlines()[0]
    sizes = list(dict.fromkeys(r["size"] for r in results))
    candidates = list(dict.fromkeys(r["candidate"] for r in results))
    references = list(dict.fromkeys(r["reference"] for r in results if compared(r)))
    cells = {(r["candidate"], r["size"]): r for r in results}

    def rows(text: Callable[[dict[str, Any]], str]) -> list[str]:
        lines = [f"| | {' | '.join(sizes)} |", f"|---|{'---|' * len(sizes)}"]
        for candidate in candidates:
            found = [cells[candidate, size] for size in sizes]
            row = ["fails" if "error" in result else text(result) for result in found]
            lines.append(f"| {candidate} | {' | '.join(row)} |")
        return lines

    if len(references) > 1:
        lines = [f"**{title}**", "", *pairs(cells)]
    else:
        lines = [f"**{title}** Times that of *{references[0]}*:", ""]
        lines += rows(lambda result: cell(result["ratios"]))
    failed = {r["candidate"]: r["error"] for r in results if "error" in r}
    lines += ["", *(f"{name} fails: `{error}`" for name, error in failed.items()), ""]
    if any("operations" in result for result in results):
        lines += ["Peak memory beyond that of the frameworks, and operations of all products:", ""]
        lines += [*rows(resources), "", ""]
    return lines


def compared(result: dict[str, Any]) -> bool:
    """Returns whether a candidate is compared with others."""
    return result.get("reference", result["candidate"]) != result["candidate"]


def pairs(cells: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    """Returns a table of candidates that are compared with different others.

    Time, and memory where a single candidate is the reference.
    """
    lines = ["| | relative to | size | time | memory |", "|---|---|---|---|---|"]
    for (candidate, size), result in cells.items():
        if "error" in result or not compared(result):
            continue
        other = cells.get((result["reference"], size))
        memory = "" if other is None else f"{memory_ratio(result, other):.2f}"
        reference, time = result["reference"], cell(result["ratios"])
        lines.append(f"| {candidate} | {reference} | {size} | {time} | {memory} |")
    return lines


def memory_ratio(result: dict[str, Any], other: dict[str, Any]) -> float:
    """Returns the peak memory of a candidate relative to that of another."""
    return result["peak_mebibytes"] / max(1, other["peak_mebibytes"])


def resources(result: dict[str, Any]) -> str:
    """Returns what a step needs beside time."""
    return f"{result['peak_mebibytes']:,} MiB, {result['operations'] / 1e9:.1f} GFLOP"


def cell(ratios: list[float]) -> str:
    """Returns the median of ratios, and the range of their middle half if there is one."""
    if len(ratios) < 2 or len(set(ratios)) == 1:
        return f"{ratios[0]:.2f}"
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def markdown(report: dict[str, Any]) -> str:
    """Returns all tables of a run, and what it ran on."""
    lines = []
    for case in dict.fromkeys(r["benchmark"] for r in report["results"]):
        lines += table(case, [r for r in report["results"] if r["benchmark"] == case])
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    threads = f"{report['threads']} thread{'s' if report['threads'] > 1 else ''}"
    lines.append(
        f"`{report['command']}`, commit {report['commit']}, {report['cpu']}, "
        f"{threads}, medians (and middle halves) of {report['pairs']} ratios; "
        f"Python {report['python']}, {versions}."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    runs = [json.loads(file.read_text()) for file in parser.parse_args().files]
    print("\n\n".join(markdown(run) for run in runs))
