"""MNIST, from the files of its authors or from TensorFlow Datasets."""

import gzip
import pathlib

import numpy as np

from experiments.data.source import find, prepared, verify

FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
WHAT = (
    "MNIST are the four files of http://yann.lecun.com/exdb/mnist/ (mirrored at "
    "https://ossci-datasets.s3.amazonaws.com/mnist/). Put them into a directory and name it with "
    "--data-dir."
)

Part = tuple[np.ndarray, np.ndarray]


def load(directory: pathlib.Path | None) -> tuple[Part, Part]:
    """Returns images between 0 and 1, of shape `(28, 28, 1)`, and labels, to train and to test.

    Args:
        directory: Where the four files are. None for what TensorFlow Datasets has prepared.
    """
    if directory is None:
        train, test = (prepared("mnist", part, WHAT) for part in ("train", "test"))
        return _part(train["image"], train["label"]), _part(test["image"], test["label"])
    paths = find(directory, list(FILES), WHAT)
    for path, md5 in zip(paths, FILES.values(), strict=True):
        verify(path, md5)
    arrays = [_idx(path) for path in paths]
    return _part(*arrays[:2]), _part(*arrays[2:])


def bundled() -> tuple[Part, Part]:
    """Returns the digits that come with scikit-learn, as large as those of MNIST."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    large = np.kron(images.reshape(-1, 8, 8) / 16, np.ones((3, 3)))
    images = np.pad(large, ((0, 0), (2, 2), (2, 2)))[..., None].astype("float32")
    labels = labels.astype("int32")
    return (images[:1400], labels[:1400]), (images[1400:], labels[1400:])


def divided(digits: str, directory: pathlib.Path | None) -> tuple[Part, Part, Part]:
    """Returns what to learn from, to choose on and to test with: images and labels of each.

    Args:
        digits: `"mnist"`, or `"bundled"` for those that come with scikit-learn.
        directory: Where the files of MNIST are.
    """
    train, test = load(directory) if digits == "mnist" else bundled()
    held = 5000 if digits == "mnist" else 200
    images, labels = train
    return (images[held:], labels[held:]), (images[:held], labels[:held]), test


def _part(images: np.ndarray, labels: np.ndarray) -> Part:
    images = images.reshape(len(images), 28, 28, 1)
    return (images / 255).astype("float32"), labels.astype("int32")


def _idx(path: pathlib.Path) -> np.ndarray:
    """Returns the array in a file of the authors' format."""
    with gzip.open(path) as file:
        content = file.read()
    rank = content[3]
    shape = np.frombuffer(content, ">i4", rank, offset=4)
    return np.frombuffer(content, "u1", offset=4 + 4 * rank).reshape(shape)
