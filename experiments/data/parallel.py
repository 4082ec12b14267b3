"""Sentences in two languages: Multi30k, or any parallel files."""

import dataclasses
import gzip
import pathlib
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

WHAT = (
    "Multi30k (https://github.com/multi30k/dataset) has for each language train.de.gz, val.de.gz "
    "and test_2016_flickr.de.gz. Put the files of two languages into a directory, packed or not, "
    "or any others with these names, one sentence in a line, and name it with --data-dir."
)
PADDING, UNKNOWN, BEGIN, END = range(4)
WORD = re.compile(r"\w+|[^\w\s]")

Pairs = list[tuple[str, str]]


def load(directory: pathlib.Path | None, source: str, target: str) -> tuple[Pairs, Pairs, Pairs]:
    """Returns pairs of sentences to learn from, to choose on and to report on."""
    if directory is None:
        raise SystemExit(WHAT)
    if not directory.is_dir():
        raise SystemExit(f"--data-dir {directory} is no directory. {WHAT}")
    train, validation, test = (
        list(zip(*(_lines(directory, part, lang) for lang in (source, target)), strict=True))
        for part in ("train", "val", "test_2016_flickr")
    )
    return train, validation, test


def generated() -> tuple[Pairs, Pairs, Pairs]:
    """Returns numbers in words and their digits in reverse, to try a program out."""
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    pairs = [
        (" ".join(words[int(d)] for d in str(n)), " ".join(reversed(str(n))))
        for n in range(100, 1000, 3)
    ]
    return pairs[:200], pairs[200:250], pairs[250:]


def _lines(directory: pathlib.Path, part: str, language: str) -> list[str]:
    paths = sorted(directory.rglob(f"*{part}.{language}*"))
    if not paths:
        raise SystemExit(f"There is no {part}.{language} in {directory}. {WHAT}")
    content = paths[0].read_bytes()
    if paths[0].suffix == ".gz":
        content = gzip.decompress(content)
    return content.decode("utf-8").strip("\n").split("\n")


def tokens(sentence: str) -> list[str]:
    """Returns the words and signs of a sentence, in small letters."""
    return WORD.findall(sentence.lower())


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The words of a language that are known, by number."""

    words: Sequence[str]

    @classmethod
    def of(cls, sentences: Sequence[str], least: int) -> "Vocabulary":
        """Returns the words that occur at least so often."""
        count = Counter(word for sentence in sentences for word in tokens(sentence))
        known = sorted(word for word, number in count.items() if number >= least)
        return cls(["", "<unknown>", "<begin>", "<end>", *known])

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {word: n for n, word in enumerate(self.words)})

    def encoded(self, sentences: Sequence[str], length: int) -> np.ndarray:
        """Returns sentences as numbers, of shape `(sentences, length)`: cut off, or filled up."""
        numbers: dict[str, int] = self.numbers  # type: ignore[attr-defined]
        rows = np.zeros((len(sentences), length), "int32")
        for row, sentence in zip(rows, sentences, strict=True):
            found = [numbers.get(word, UNKNOWN) for word in tokens(sentence)][: length - 2]
            row[: len(found) + 2] = [BEGIN, *found, END]
        return rows

    def decoded(self, row: np.ndarray) -> str:
        """Returns numbers as a sentence, up to its end."""
        ends = np.flatnonzero(row == END)
        words = [self.words[n] for n in row[: ends[0] if len(ends) else None]]
        return " ".join(word for word in words if word not in ("", "<begin>"))
