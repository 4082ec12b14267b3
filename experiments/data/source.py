"""Where data come from, and what to say if they are not there."""

import hashlib
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any


def find(directory: pathlib.Path, names: Sequence[str], what: str) -> list[pathlib.Path]:
    """Returns the paths of files, wherever they are below a directory.

    Args:
        directory: Where to look.
        names: Their names.
        what: What they are and where to get them, for the message.
    """
    if not directory.is_dir():
        raise SystemExit(f"--data-dir {directory} is no directory. {what}")
    found = [next(filter(pathlib.Path.is_file, sorted(directory.rglob(n))), None) for n in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise SystemExit(f"There is no {', '.join(missing)} in {directory}. {what}")
    return [path for path in found if path is not None]


def verify(path: pathlib.Path, md5: str) -> None:
    """Warns if a file is not the published one: figures are then not comparable."""
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        warnings.warn(
            f"{path} is not the published file: its MD5 is {found}, not {md5}. Figures that are "
            "measured with it are not comparable with published ones.",
            stacklevel=2,
        )


def prepared(name: str, split: str, what: str) -> Any:
    """Returns a split of a data set that TensorFlow Datasets has prepared, as arrays.

    Args:
        name: Name of the data set there.
        split: Which part.
        what: What else can be done, for the message.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SystemExit(f"tensorflow-datasets is not installed. {what}") from error
    try:
        # Without a network a download would try for minutes.
        data = tfds.load(name, split=split, batch_size=-1, download=False)
    except AssertionError as error:
        raise SystemExit(
            f"TensorFlow Datasets has not prepared {name} yet: run `tfds build {name}`, which "
            f"downloads it. {what}"
        ) from error
    return tfds.as_numpy(data)
