"""Atomic replacement of files and folders."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator

from keras_hyper.typing import FilePath

_EXCHANGE = 2  # RENAME_EXCHANGE of Linux.
_HERE = -100  # AT_FDCWD: paths as they are.


def check_ending(path: FilePath, *endings: str) -> pathlib.Path:
    """Returns a path, or raises if it has another ending.

    The case counts, as in Keras, which reads `.keras` and not `.KERAS`.

    Args:
        path: The path.
        *endings: What it may end in. The empty string stands for a path without an ending.

    Raises:
        ValueError: If the path has another ending.
    """
    found = pathlib.Path(path)
    if found.suffix not in endings:
        named = " or ".join(repr(ending) for ending in endings if ending)
        rules = [f"end in {named}"] if named else []
        rules += ["have no ending, for a folder"] if "" in endings else []
        raise ValueError(f"`path` must {', or '.join(rules)}. Received: path={str(path)!r}")
    return found


@contextlib.contextmanager
def replacing(
    path: FilePath, folder: bool = False, may_have: Collection[str] = ()
) -> Iterator[pathlib.Path]:
    """Yields a temporary name beside `path`, and renames it to `path` at the end.

    An error before leaves `path` unchanged. A file is replaced in one step, and so is a folder
    on Linux. Elsewhere an older folder is renamed for a moment, and a process that is killed
    then leaves it under that name.

    Args:
        path: Where to write. The folder that it is in must exist.
        folder: Whether it is to be a folder. It exists already, and is empty.
        may_have: What an older folder may have in it, which will be gone.

    Raises:
        FileExistsError: If an older folder has anything else in it.
        FileNotFoundError: If there is no folder to write to.
        IsADirectoryError: If a folder is where the file is to be.
        NotADirectoryError: If a file is where the folder is to be.
    """
    # Through a link, to what it leads to.
    target = pathlib.Path(path).resolve()
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{target.parent}' to write '{target.name}' to. Create it first."
        )
    if folder and target.exists() and not target.is_dir():
        raise NotADirectoryError(f"'{target}' is a file, where a folder is to be written.")
    others = sorted({p.name for p in target.iterdir()} - set(may_have)) if target.is_dir() else []
    if folder and others:
        raise FileExistsError(
            f"'{target}' has files in it that would be lost: {others}. Name another folder."
        )
    if not folder and target.is_dir():
        raise IsADirectoryError(f"'{target}' is a folder, where a file is to be written.")
    place = pathlib.Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    # The ending stays: writers look at it.
    temporary = place / target.name
    try:
        if folder:
            temporary.mkdir()
        yield temporary
        if folder and target.exists():
            _exchange(temporary, target)
        else:
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _exchange(new: pathlib.Path, old: pathlib.Path) -> None:
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        paths = os.fsencode(new), os.fsencode(old)
        if rename is not None and rename(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0:
            return
    before = new.with_name(f"{old.name}.before")
    os.replace(old, before)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(before, old)
        raise
