"""MNIST, from the files of its authors or from TensorFlow Datasets."""

import gzip
import pathlib

import numpy as np


def load(directory: pathlib.Path | None) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns images between 0 and 1, laid flat, and labels, to train and to test.

    Args:
        directory: Where `train-images-idx3-ubyte.gz` and the other three files are.
            None to let TensorFlow Datasets fetch them.
    """
    if directory is None:
        return tuple(_fetched(part) for part in ("train", "test"))
    return tuple(
        _flat(
            _idx(directory / f"{part}-images-idx3-ubyte.gz"),
            _idx(directory / f"{part}-labels-idx1-ubyte.gz"),
        )
        for part in ("train", "t10k")
    )


def _fetched(part: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SystemExit(
            "Install tensorflow-datasets, or name a directory with the four files with --data."
        ) from error
    data = tfds.as_numpy(tfds.load("mnist", split=part, batch_size=-1))
    return _flat(data["image"], data["label"])


def _flat(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (images.reshape(len(images), -1) / 255).astype("float32"), labels.astype("int32")


def _idx(path: pathlib.Path) -> np.ndarray:
    """Returns the array in a file of the authors' format."""
    with gzip.open(path) as file:
        content = file.read()
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, offset=4)
    return np.frombuffer(content, "u1", offset=4 + 4 * rank).reshape(shape)
