"""What a reader needs to know of where a figure comes from."""

import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchmarks.compare import cpu

BACKENDS = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",), "torch": ("torch",)}


def _without_places(arguments: Sequence[str]) -> str:
    """Returns a command line without the directories, which are the reader's own."""
    words, kept = list(arguments), []
    while words:
        word = words.pop(0)
        if word in ("--data-dir", "--out"):
            words.pop(0)
        elif not word.startswith(("--data-dir=", "--out=")):
            kept.append(word)
    return shlex.join(kept)


def about(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Returns command, commit, machine and versions.

    Args:
        packages: What else to tell the versions of.
    """
    import keras

    versions = {}
    for package in ("keras", *BACKENDS[keras.backend.backend()], "numpy", *packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    root = pathlib.Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True
    )
    module = pathlib.Path(sys.argv[0]).stem
    return {
        "command": f"python -m experiments.{module} {_without_places(sys.argv[1:])}",
        "commit": commit.stdout.strip() or None,
        "cpu": cpu(),
        "python": platform.python_version(),
        "versions": versions,
    }
