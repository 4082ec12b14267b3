"""CIFAR-10, in the binary or the Python version of its authors, or from TensorFlow Datasets."""

import codecs
import io
import pathlib
import pickle
from typing import Any

import numpy as np

from experiments.data.source import find, prepared, verify

BINARY = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
PYTHON = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
WHAT = (
    "CIFAR-10 is cifar-10-binary.tar.gz or cifar-10-python.tar.gz of "
    "https://www.cs.toronto.edu/~kriz/cifar.html. Unpack it into a directory and name that with "
    "--data-dir."
)

Part = tuple[np.ndarray, np.ndarray]


def load(directory: pathlib.Path | None) -> tuple[Part, Part]:
    """Returns images of bytes, of shape `(32, 32, 3)`, and labels, to train and to test.

    Args:
        directory: Where the six files are. None for what TensorFlow Datasets has prepared.
    """
    if directory is None:
        parts = [prepared("cifar10", part, WHAT) for part in ("train", "test")]
        train, test = [(part["image"], part["label"].astype("int32")) for part in parts]
        return train, test
    binary = directory.is_dir() and any(directory.rglob("data_batch_1.bin"))
    files, read = (BINARY, _binary) if binary else (PYTHON, _python)
    paths = find(directory, list(files), WHAT)
    for path, md5 in zip(paths, files.values(), strict=True):
        verify(path, md5)
    *batches, test = [read(path) for path in paths]
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return (images, labels), test


def generated(count: int = 600) -> tuple[Part, Part]:
    """Returns images of stripes and squares in ten colours, to try a program out."""
    rng = np.random.default_rng(0)
    labels = np.arange(count, dtype="int32") % 10
    images = rng.integers(0, 120, (count, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        image[:: 1 + label % 5, :, label // 4] += 120
    images = images.astype("u1")
    return (images[100:], labels[100:]), (images[:100], labels[:100])


def _binary(path: pathlib.Path) -> Part:
    rows = np.frombuffer(path.read_bytes(), "u1").reshape(-1, 1 + 3 * 32 * 32)
    return _images(rows[:, 1:]), rows[:, 0].astype("int32")


def _python(path: pathlib.Path) -> Part:
    found = _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    return _images(found["data"]), np.array(found["labels"], "int32")


class _Arrays(pickle.Unpickler):
    """Reads arrays and nothing else: a pickle could run any program."""

    def find_class(self, module: str, name: str) -> Any:
        # The function that makes arrays has another place in every NumPy.
        reconstruct, *_ = np.zeros(0).__reduce__()
        allowed = {"_reconstruct": reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.startswith("numpy") and name in allowed:
            return allowed[name]
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        raise pickle.UnpicklingError(f"{module}.{name} has no place in CIFAR-10.")


def _images(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
