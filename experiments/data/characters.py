"""Texts as numbers, one for each symbol: Penn Treebank, enwik8, any other, and Python's manual."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from experiments.data.source import find, verify

PTB = {
    "ptb.char.train.txt": "874909f99060142f6b88cc74c34baaa2",
    "ptb.char.valid.txt": "9e0fe5bec2a8bf43fd686dc23d5ab8bb",
    "ptb.char.test.txt": "1f9a2d1afe00f76e8bfbe09a65439681",
}
PTB_WHAT = (
    "The characters of Penn Treebank are the files ptb.char.*.txt of Mikolov's simple-examples.tgz "
    "(http://www.fit.vutbr.cz/~imikolov/rnnlm/); their terms are those of the Linguistic Data "
    "Consortium. Put them into a directory and name it with --data-dir."
)
ENWIK8 = "a1fa5ffddb56f4953e226637dabbb36a"
ENWIK8_WHAT = (
    "enwik8 are the first 100,000,000 bytes of a Wikipedia (http://mattmahoney.net/dc/enwik8.zip). "
    "Unpack it, put the file enwik8 into a directory and name it with --data-dir."
)


@dataclasses.dataclass(frozen=True)
class Text:
    """A text in three parts, as numbers of symbols.

    Attributes:
        symbols: How many different symbols there are.
        train: The part to learn from.
        validation: The part to choose on.
        test: The part to report on.
        names: The symbols, by number.
    """

    symbols: int
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    names: Sequence[str]


def penn_treebank(directory: pathlib.Path | None) -> Text:
    """Returns the characters of Penn Treebank in Mikolov's split: 50, with the line end."""
    if directory is None:
        raise SystemExit(PTB_WHAT)
    paths = find(directory, list(PTB), PTB_WHAT)
    for path, md5 in zip(paths, PTB.values(), strict=True):
        verify(path, md5)
    # One blank after every character; a space is an underscore.
    parts = [path.read_text().replace("\n", " \n ").split(" ") for path in paths]
    parts = [[symbol for symbol in part if symbol] for part in parts]
    return _numbered(parts)


def enwik8(directory: pathlib.Path | None) -> Text:
    """Returns enwik8: 90% to learn from, 5% to choose on, 5% to report on."""
    if directory is None:
        raise SystemExit(ENWIK8_WHAT)
    (path,) = find(directory, ["enwik8"], ENWIK8_WHAT)
    verify(path, ENWIK8)
    return divided(np.frombuffer(path.read_bytes(), "u1"))


def text_file(path: pathlib.Path) -> Text:
    """Returns any text, divided in the same way."""
    if not path.is_file():
        raise SystemExit(f"--text {path} is no file.")
    return divided(list(path.read_text(encoding="utf-8")))


def bundled() -> Text:
    """Returns the manual that comes with Python."""
    from pydoc_data import topics

    return divided(list("".join(topics.topics.values())))


def divided(symbols: Sequence[object]) -> Text:
    """Returns a text: 90% to learn from, 5% to choose on, 5% to report on."""
    ends = [int(0.9 * len(symbols)), int(0.95 * len(symbols))]
    return _numbered([symbols[: ends[0]], symbols[ends[0] : ends[1]], symbols[ends[1] :]])


def _numbered(parts: Sequence[Iterable[object]]) -> Text:
    arrays = [np.asarray(part) for part in parts]
    # Of all parts, as the paper counts: its 205 symbols are those of the whole of enwik8.
    known, numbers = np.unique(np.concatenate(arrays), return_inverse=True)
    train, validation, test = np.split(
        numbers.astype("int32"), np.cumsum([len(part) for part in arrays[:2]])
    )
    names = [chr(s) if known.dtype.kind == "u" else str(s) for s in known]
    return Text(len(known), train, validation, test, names)
