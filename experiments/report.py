"""The tables and curves of results: `python -m experiments.report docs/results --write docs`.

Reads the `result.json` of runs (files, or folders with such files below them), and prints tables in
Markdown: a row for all runs that differ in nothing but the seed. With `--write` the tables go into
`results.md` of that folder, between its two marks, and the learning curves beside it.
"""

import argparse
import json
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

from keras_hyper.files import replacing

MARKS = ("<!-- experiments.report: begin -->", "<!-- experiments.report: end -->")
UNITS = {
    "error": "test error, %",
    "bits": "bits per character, test",
    "nats": "nats of a line, validation",
    "perplexity": "perplexity of a word, test",
    "bleu": "BLEU, test",
    "effective_rank": "effective rank of the scales",
}
DIGITS = {"error": 2, "bits": 3, "nats": 1, "perplexity": 2, "bleu": 2, "effective_rank": 2}
TITLES = {
    "mnist_static": "MNIST with a generated kernel",
    "cifar10_wrn": "Wide residual networks on CIFAR-10",
    "ptb_char": "Characters of Penn Treebank",
    "enwik8": "Characters of Wikipedia",
    "text": "Characters of a text",
    "handwriting": "Handwriting",
    "translation": "Translation",
}
# What the paper has, by experiment and model (tables 2 to 5 and 7), at its own size.
PAPER = {
    ("mnist_static", "ordinary"): "0.72",
    ("mnist_static", "generated"): "0.76",
    ("cifar10_wrn", "ordinary"): "6.73 (WRN 40-1)",
    ("cifar10_wrn", "generated"): "8.02 (WRN 40-1)",
    ("ptb_char", "LSTM"): "1.312",
    ("ptb_char", "LN-LSTM"): "1.267",
    ("ptb_char", "HyperLSTM"): "1.265",
    ("ptb_char", "LN-HyperLSTM"): "1.250",
    ("enwik8", "LSTM"): "1.470",
    ("enwik8", "LN-LSTM"): "1.402",
    ("enwik8", "HyperLSTM"): "1.391",
    ("enwik8", "LN-HyperLSTM"): "1.353",
    ("handwriting", "LSTM"): "-1055",
    ("handwriting", "LN-LSTM"): "-1096",
    ("handwriting", "HyperLSTM"): "-1162",
    ("handwriting", "LN-HyperLSTM"): "-1067",
}


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("results", nargs="+", type=pathlib.Path, metavar="FILE_OR_FOLDER")
    parser.add_argument("--write", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    groups = grouped(read(arguments.results))
    text = "\n".join(tables(groups))
    if arguments.write is None:
        print(text)
        return
    page = arguments.write / "results.md"
    before, _, rest = page.read_text().partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        raise SystemExit(f"{page} has no {MARKS[0]} and {MARKS[1]} to write between.")
    with replacing(page) as temporary:
        temporary.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")
    for name, rows in groups.items():
        curves(rows, arguments.write / f"results_{name}.svg")


def read(paths: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Returns the results in files, and in folders."""
    files = [f for p in paths for f in (sorted(p.rglob("*.json")) if p.is_dir() else [p])]
    found = [json.loads(file.read_text()) for file in files]
    found = [r for r in found if isinstance(r, dict) and {"experiment", "history"} <= r.keys()]
    if not found:
        raise SystemExit(f"There are no results in {', '.join(map(str, paths))}.")
    return found


def grouped(results: list[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Returns results by experiment and preset, and in these by what else they differ in."""
    groups: dict[str, Any] = {}
    for result in results:
        name = f"{result['experiment']}_{result['setting']['preset']}"
        groups.setdefault(name, []).append(result)
    return {name: _rows(group) for name, group in groups.items()}


def _rows(group: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    settings = [r["setting"] for r in group]
    names = [n for n in settings[0] if n not in ("seed", "model")]
    different = [n for n in names if len({json.dumps(s.get(n)) for s in settings}) > 1]
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in group:
        setting = result["setting"]
        more = [f"{name.replace('_', ' ')} {setting[name]}" for name in different]
        rows.setdefault(", ".join([setting["model"], *more]), []).append(result)
    return rows


def tables(groups: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """Returns a table for each group, with what a reader needs to repeat it."""
    lines = []
    for name, rows in groups.items():
        first = next(iter(rows.values()))[0]
        setting, results = first["setting"], [r for row in rows.values() for r in row]
        figures = [f for f in UNITS if any(f in r["test"] for r in results)]
        head = ["", "parameters", "seeds", *(UNITS[f] for f in figures)]
        head += ["best validation", "at step", "minutes", "the paper"]
        lines += [
            f"### {TITLES[first['experiment']]}, preset `{setting['preset']}`",
            "",
            f"{setting['steps']:,} updates with {setting['batch_size']} samples. {_machine(rows)}",
            "",
            "```",
            *sorted({_without_places(r["command"]) for row in rows.values() for r in row}),
            "```",
            "",
            f"| {' | '.join(head)} |",
            f"|{'---|' * len(head)}",
        ]
        for label, results in rows.items():
            one = results[0]
            monitor = next(iter(one["validation"]))
            cells = [label, f"{one['parameters']:,}", len(results)]
            for figure in figures:
                values = [r["test"][figure] for r in results if figure in r["test"]]
                cells.append(_spread(values, DIGITS[figure]) if values else "")
            best = [r["validation"][monitor] for r in results]
            cells += [
                _spread(best, DIGITS[monitor]),
                f"{statistics.mean(r['best_step'] for r in results):,.0f}",
                f"{statistics.mean(r['seconds'] for r in results) / 60:.0f}",
                PAPER.get((one["experiment"], one["setting"]["model"]), ""),
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
        lines += ["", f"![Learning curves](results_{name}.svg)", ""]
    return lines


def _without_places(command: str) -> str:
    """Returns a command without seed and directories, which are the reader's."""
    words, kept = command.split(), []
    while words:
        word = words.pop(0)
        if word in ("--seed", "--out", "--data-dir"):
            words.pop(0)
        else:
            kept.append(word)
    return " ".join([*kept, "--data-dir DIR", "--seed N"])


def _machine(rows: dict[str, list[dict[str, Any]]]) -> str:
    results = [r for row in rows.values() for r in row]
    places = sorted({f"{r['cpu']}, commit {r['commit']}" for r in results})
    versions = results[0]["versions"]
    return f"{'; '.join(places)}; {', '.join(f'{k} {v}' for k, v in versions.items())}."


def _spread(values: Sequence[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def curves(rows: dict[str, list[dict[str, Any]]], path: pathlib.Path) -> None:
    """Draws the validation figure of every run of a group, over its updates."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    for n, (label, results) in enumerate(rows.items()):
        for k, result in enumerate(results):
            monitor = next(iter(result["validation"]))
            steps = [line["step"] for line in result["history"]]
            values = [line[f"val_{monitor}"] for line in result["history"]]
            axes.plot(steps, values, color=f"C{n}", alpha=0.8, label=label if not k else None)
    axes.set_xlabel("updates")
    axes.set_ylabel(UNITS[monitor].replace("test", "validation"))
    axes.legend()
    axes.grid(alpha=0.3)
    with replacing(path) as temporary:
        # No time of drawing, and no random names: the same results, the same file.
        figure.savefig(temporary, metadata={"Date": None})


if __name__ == "__main__":
    main()
