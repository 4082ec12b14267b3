"""The file of an experiment's results: written after every run, and gone on from."""

import json
import pathlib
import statistics
from collections.abc import Sequence
from importlib import metadata
from typing import Any


def versions() -> dict[str, str]:
    """Returns the versions of what computes."""
    found = {}
    for package in ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def load(path: pathlib.Path, setting: dict[str, Any]) -> dict[str, Any]:
    """Returns what an earlier run with the same setting left, or a new report."""
    if not path.exists():
        return {"setting": setting, "versions": versions(), "runs": []}
    earlier = json.loads(path.read_text())
    if earlier["setting"] != setting:
        raise SystemExit(
            f"{path} is of another setting: {earlier['setting']}. Name another file with --out."
        )
    return earlier


def save(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes a report to a temporary name and renames it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=1) + "\n")
    temporary.replace(path)


def spread(values: Sequence[float], digits: int) -> str:
    """Returns the mean and the standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"
