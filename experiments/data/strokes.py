"""Handwriting as pen movements: the lines of the IAM On-Line Handwriting Database."""

import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import numpy as np

WHAT = (
    "The lines are lineStrokes-all.tar.gz of the IAM On-Line Handwriting Database "
    "(https://fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database; for research, after "
    "registering). Unpack it into a directory, or put an .npz there with the arrays dx, dy, eos "
    "(all lines one after the other), off (where each begins, and the end) and ids, and name the "
    "directory with --data-dir. With trainset.txt, testset_v.txt, testset_t.txt and testset_f.txt "
    "of the same source beside them, the split is that of Graves (2013)."
)
# "Generating sequences with recurrent neural networks", section 4: the smaller set for validation
# is the one to choose on, and the rest is learned from.
LISTS = ("testset_v.txt", "trainset.txt", "testset_t.txt", "testset_f.txt")
# Lines that are no handwriting.
BROKEN = re.compile(r"z01-000z-|a08-551z-0[89]")
FARTHEST = 500  # Beyond it the pen was elsewhere.

Lines = list[np.ndarray]


def load(directory: pathlib.Path | None) -> tuple[Lines, Lines, str]:
    """Returns lines to learn from and to validate on, and which split that is.

    A line has a row `(dx, dy, end)` for each point: how the pen moved to it, each coordinate in
    units of its standard deviation over the training set, and whether it was lifted there.
    """
    if directory is None:
        raise SystemExit(WHAT)
    lines = {name: line for name, line in _read(directory) if not BROKEN.match(name)}
    if not lines:
        raise SystemExit(f"There are no lines in {directory}. {WHAT}")
    forms = {name: name.rpartition("-")[0] for name in lines}
    lists = [next(iter(directory.rglob(name)), None) for name in LISTS]
    if all(lists):
        second, *rest = (set(path.read_text().split()) for path in lists if path is not None)
        first, split = set().union(*rest), "Graves (2013)"
    elif any(lists):
        missing = [name for name, path in zip(LISTS, lists, strict=True) if path is None]
        raise SystemExit(f"{' and '.join(missing)} of {', '.join(LISTS)} missing in {directory}.")
    else:
        # Lines of one form are of one writer. Who wrote which form, the lines do not say.
        second = set(sorted(set(forms.values()))[::10])
        first, split = set(forms.values()) - second, "every tenth form"
    parts = [[x for n, x in lines.items() if forms[n] in part] for part in (first, second)]
    if not all(parts):
        raise SystemExit(
            f"{directory}, divided by {split}: {len(parts[0])} lines to learn from and "
            f"{len(parts[1])} to choose on. {WHAT}"
        )
    # Millions of numbers one after the other: in float32 one part in a hundred is lost.
    scale = np.std(np.concatenate(parts[0])[:, :2], axis=0, dtype="float64")
    return _scaled(parts[0], scale), _scaled(parts[1], scale), split


def generated(count: int = 60) -> tuple[Lines, Lines, str]:
    """Returns waves with lifted pens, to try a program out."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(count):
        time = np.arange(rng.integers(60, 90)) * rng.uniform(0.3, 0.6)
        moves = np.stack([1 + np.cos(time), np.sin(time)], axis=-1)
        lines.append(np.column_stack([moves, np.arange(len(time)) % 15 == 14]).astype("float32"))
    return lines[10:], lines[:10], "made"


def _scaled(lines: Lines, scale: np.ndarray) -> Lines:
    return [np.column_stack([x[:, :2] / scale, x[:, 2]]).astype("float32") for x in lines]


def _read(directory: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    for path in sorted(directory.rglob("*.npz")):
        with np.load(path) as file:
            if not {"dx", "dy", "eos", "off", "ids"} <= set(file.files):
                continue
            points = np.column_stack([file["dx"], file["dy"], file["eos"]]).astype("float32")
            points[:, :2] = points[:, :2].clip(-FARTHEST, FARTHEST)
            ends = file["off"]
            for n, name in enumerate(file["ids"]):
                yield str(name), points[ends[n] : ends[n + 1]]
        return
    for path in sorted(directory.rglob("*.xml")):
        strokes = ElementTree.parse(path).getroot().findall(".//Stroke")
        if strokes:
            yield path.stem, _line(strokes)


def _line(strokes: list[ElementTree.Element]) -> np.ndarray:
    """Returns the movements of one line, from the places that the file has."""
    rows = []
    for stroke in strokes:
        points = [(float(p.attrib["x"]), float(p.attrib["y"])) for p in stroke.findall("Point")]
        rows += [(*point, float(n == len(points) - 1)) for n, point in enumerate(points)]
    places = np.array(rows, "float32")
    moves = np.diff(places[:, :2], axis=0, prepend=places[:1, :2])
    return np.column_stack([moves.clip(-FARTHEST, FARTHEST), places[:, 2]])
