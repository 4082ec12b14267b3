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

_RENAME_EXCHANGE = 2  # Constants of Linux.
_AT_FDCWD = -100


def check_ending(path: FilePath, *endings: str) -> pathlib.Path:
    """Returns `path`, or raises `ValueError` if its ending is not one of `endings`.

    The case counts, as in Keras. The empty string stands for a folder.
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
    """Yields a temporary path next to `path`, and renames it to `path` at the end.

    After an error, `path` is unchanged. The replacement is atomic, except for folders outside of
    Linux. There, a killed process may leave the old folder under a temporary name.

    Args:
        path: The path to write to. Its parent folder must exist.
        folder: Whether to write a folder. The temporary folder is already created.
        may_have: Names of files in an existing folder that may be lost.

    Raises:
        FileExistsError: If an existing folder has other files in it.
        FileNotFoundError: If the parent folder does not exist.
        IsADirectoryError: If `path` is a folder, and `folder` is False.
        NotADirectoryError: If `path` is a file, and `folder` is True.
    """
    target = pathlib.Path(path).resolve()  # Follows links.
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"Cannot write '{target.name}': '{target.parent}' is not a folder. Create it first."
        )
    if folder and target.exists():
        if not target.is_dir():
            raise NotADirectoryError(f"'{target}' is a file. Choose another path for the folder.")
        others = sorted({p.name for p in target.iterdir()} - set(may_have))
        if others:
            raise FileExistsError(
                f"Folder '{target}' has files that would be lost: {others}. Choose another folder."
            )
    if not folder and target.is_dir():
        raise IsADirectoryError(f"'{target}' is a folder. Choose another path for the file.")
    with tempfile.TemporaryDirectory(
        dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True
    ) as place:
        # Writers look at the ending, so the name stays the same.
        temporary = pathlib.Path(place) / target.name
        if folder:
            temporary.mkdir()
        yield temporary
        if folder and target.exists():
            _exchange(temporary, target)
        else:
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)


def _exchange(new: pathlib.Path, old: pathlib.Path) -> None:
    if sys.platform == "linux":
        rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
        paths = os.fsencode(new), os.fsencode(old)
        if rename and rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
            return
    before = new.with_name(f"{old.name}.before")
    os.replace(old, before)
    try:
        os.replace(new, old)
    except BaseException:
        os.replace(before, old)
        raise
