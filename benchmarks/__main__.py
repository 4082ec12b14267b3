"""`python -m benchmarks`: every benchmark, as a table and as JSON."""

import argparse
import importlib
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.compare import about, compare, write

CASES = (
    "static_stack",
    "baked",
    "dense",
    "conv",
    "forms",
    "conv_forms",
    "recurrent",
    "recurrent_inference",
    "recurrent_length",
    "recurrent_compile",
    "recurrent_products",
    "target",
    "target_shared",
    "perceptron",
    "generation",
    "mobilenet",
    "applications",
    "applications_start",
    "serving",
    "streaming",
    "callback",
)


# The last needs KerasHub, and has an environment of its own.
EVERY = (*CASES, "lora")


def references_of(module: Any, size: Any) -> Mapping[str, Sequence[str]]:
    """Returns what each candidate of a benchmark is compared with, at one of its sizes."""
    if hasattr(module, "references"):
        return module.references(size)
    return dict.fromkeys(module.CANDIDATES, (module.REFERENCE,))


def main() -> int:
    """Runs the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(EVERY)}")
    parser.add_argument("--pairs", type=int, default=7, help="measurements of each candidate")
    parser.add_argument("--threads", type=int, default=1, help="of each candidate")
    parser.add_argument("--size", help="only sizes whose name contains this")
    parser.add_argument("--first", action="store_true", help="only the first size of each")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks.json"))
    arguments = parser.parse_args()
    for case in arguments.cases:
        if case not in EVERY:
            parser.error(f"no benchmark {case!r}; there are {', '.join(EVERY)}")

    command = ["python", "-m", "benchmarks", *sys.argv[1:]]
    report: dict[str, Any] = {**about(command, arguments.pairs, arguments.threads), "results": []}
    for case in arguments.cases or CASES:
        module = importlib.import_module(f"benchmarks.{case}")
        print(f"\n{module.__doc__.splitlines()[0]}")
        sizes = [size for size in module.SIZES if (arguments.size or "") in size]
        for size in sizes[:1] if arguments.first else sizes:
            value = module.SIZES[size]
            results = compare(
                case,
                size,
                value,
                module.CANDIDATES,
                references_of(module, value),
                arguments.pairs,
                arguments.threads,
            )
            report["results"] += results
            print(f"  {size}")
            for result in results:
                if "error" in result:
                    print(f"    {result['candidate']:30}{result['error']}")
                    continue
                print(
                    f"    {result['candidate']:30}{result['median_milliseconds']:10.2f} ms"
                    f"{result['median_ratio']:8.2f} x {result['reference']}"
                )
            # After every size: what was measured is not lost if a later one fails.
            write(arguments.out, report)
    limits = f"{arguments.threads} thread(s), {arguments.pairs} pairs"
    print(f"\n{report['cpu']}, {limits}; {report['versions']}")
    print(f"written to {os.fspath(arguments.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
