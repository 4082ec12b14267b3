"""Writing files and folders so that nothing that was there is lost."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from typing import Any

_EXCHANGE = 2  # RENAME_EXCHANGE of Linux.
_HERE = -100  # AT_FDCWD: paths as they are.


def check_ending(path: Any, *endings: str) -> pathlib.Path:
    """Returns a path, or raises if it has another ending.

    The case counts, as in Keras, which reads `.keras` and not `.KERAS`.

    Args:
        path: The path.
        *endings: What it may end in. The empty string stands for a path without an ending.

    Raises:
        ValueError: If the path has another ending.
    """
    path = pathlib.Path(path)
    if path.suffix not in endings:
        named = " or ".join(repr(ending) for ending in endings if ending)
        rules = [f"end in {named}"] if named else []
        rules += ["have no ending, for a folder"] if "" in endings else []
        raise ValueError(f"`path` must {', or '.join(rules)}. Received: path={str(path)!r}")
    return path


@contextlib.contextmanager
def replacing(
    path: Any, folder: bool = False, may_have: Collection[str] = ()
) -> Iterator[pathlib.Path]:
    """Gives a temporary name beside `path`, and renames it to `path` at the end.

    Whatever happens before, what was at `path` is as it was. A file is replaced
    in one step, and so is a folder on Linux; elsewhere an older folder
    has another name for a moment, and a process that is killed then leaves it there.

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
    path = pathlib.Path(path).resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{path.parent}' to write '{path.name}' to. Create it first."
        )
    if folder and path.exists() and not path.is_dir():
        raise NotADirectoryError(f"'{path}' is a file, where a folder is to be written.")
    others = sorted({p.name for p in path.iterdir()} - set(may_have)) if path.is_dir() else []
    if folder and others:
        raise FileExistsError(
            f"'{path}' has files in it that would be lost: {others}. Name another folder."
        )
    if not folder and path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder, where a file is to be written.")
    place = pathlib.Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    # The ending stays: writers look at it.
    temporary = place / path.name
    try:
        if folder:
            temporary.mkdir()
        yield temporary
        if folder and path.exists():
            _exchange(temporary, path)
        else:
            if path.exists():
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
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
