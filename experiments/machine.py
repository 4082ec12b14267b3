"""What a reader needs to know of where a figure comes from."""

import pathlib
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from typing import Any

from benchmarks.compare import cpu

BACKENDS = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",), "torch": ("torch",)}


def about() -> dict[str, Any]:
    """Returns command, commit, machine and versions."""
    import keras

    versions = {}
    for package in ("keras", *BACKENDS[keras.backend.backend()], "numpy"):
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
        "command": f"python -m experiments.{module} {shlex.join(sys.argv[1:])}",
        "commit": commit.stdout.strip() or None,
        "cpu": cpu(),
        "python": platform.python_version(),
        "versions": versions,
    }
