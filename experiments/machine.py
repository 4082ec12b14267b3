"""What a reader needs to know of where a figure comes from."""

import pathlib
import platform
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from tooling.machine import cpu, versions

BACKENDS = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",), "torch": ("torch",)}


def _without_places(arguments: Sequence[str]) -> str:
    """Returns a command line without the directories, which are the reader's own."""
    words, kept = [], []
    for word in arguments:
        words += word.split("=", 1) if word.startswith("--") else [word]
    while words:
        word = words.pop(0)
        if word in ("--data-dir", "--out"):
            words.pop(0)
        elif word == "--text":
            kept += [word, pathlib.Path(words.pop(0)).name]
        else:
            kept.append(word)
    return shlex.join(kept)


def about(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Returns command, machine and versions.

    Args:
        packages: What else to tell the versions of.
    """
    import keras

    module = pathlib.Path(sys.argv[0]).stem
    backend = keras.backend.backend()
    chosen = f"KERAS_BACKEND={backend} " if backend != "tensorflow" else ""
    return {
        "command": f"{chosen}python -m experiments.{module} {_without_places(sys.argv[1:])}",
        "cpu": cpu(),
        "python": platform.python_version(),
        "versions": versions(["keras", *BACKENDS[backend], "numpy", *packages]),
    }
