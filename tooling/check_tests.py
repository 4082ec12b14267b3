"""Check that no test got lost: `python -m tooling.check_tests TESTS MINIMUM REPORT...`.

TESTS is the folder of the tests, MINIMUM a file with one number, each REPORT a JUnit file of one
run of the suite, one for each backend. The check fails if, in all runs together, a test file
collects no test or only skipped ones, or if there are fewer tests than the number says.
"""

import argparse
import collections
import pathlib
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence

# Folders of tests that run in an environment with other packages.
OTHER = ("fuzz", "kerashub")


def module(path: pathlib.Path, folder: pathlib.Path) -> str:
    """Returns the name that JUnit files give to a test file."""
    return ".".join(path.relative_to(folder.parent).with_suffix("").parts)


def outcomes(report: pathlib.Path) -> Iterable[tuple[str, bool]]:
    """Yields the class name of each test of a run, and whether it was skipped."""
    for case in ET.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        # A file that is skipped while it is collected has no class name and no test.
        if case.get("classname"):
            expected_failure = skipped is not None and skipped.get("type") == "pytest.xfail"
            yield case.get("classname"), skipped is not None and not expected_failure


def problems(
    folder: pathlib.Path, minimum: int, reports: Sequence[pathlib.Path]
) -> tuple[list[str], int]:
    """Returns what is wrong, a sentence each, and the number of tests collected."""
    collected: dict[str, list[bool]] = collections.defaultdict(list)
    for report in reports:
        for name, skipped in outcomes(report):
            collected[name].append(skipped)
    found = []
    for path in sorted(folder.rglob("test_*.py")):
        if path.parent.name in OTHER:
            continue
        name = module(path, folder)
        # The tests of a class have the name of the class behind that of the file.
        tests = [
            s for key, all_ in collected.items() for s in all_ if f"{key}.".startswith(f"{name}.")
        ]
        if not tests:
            found.append(f"{path} collects no test in any run.")
        elif all(tests):
            found.append(f"{path} is skipped as a whole in every run.")
    total = sum(map(len, collected.values()))
    if total < minimum:
        found.append(f"{total} tests were collected, {minimum} are expected.")
    return found, total


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is wrong, and returns 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tooling.check_tests", description=__doc__)
    parser.add_argument("tests", type=pathlib.Path, help="folder of the tests")
    parser.add_argument("minimum", type=pathlib.Path, help="file with the number of tests expected")
    parser.add_argument(
        "reports", type=pathlib.Path, nargs="+", help="JUnit files, one for each run"
    )
    given = parser.parse_args(arguments)
    minimum = int(given.minimum.read_text())
    found, total = problems(given.tests, minimum, given.reports)
    print("\n".join([*found, f"{total} tests in {len(given.reports)} runs; at least {minimum}."]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
