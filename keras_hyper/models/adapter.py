"""The small part of a hypernetwork in a file of its own."""

import contextlib
import os
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np

from keras_hyper.models.graph import named_weights


def save_adapter(model: keras.Model, path: Any) -> None:
    """Writes the weights of a hypernetwork that are not frozen weights of its target.

    Args:
        model: A built `Hypernetwork`.
        path: Where to, with the ending `.npz`.
    """
    path = _checked(path)
    arrays = {name: keras.ops.convert_to_numpy(v) for name, v in _small_part(model).items()}
    # Renamed when it is whole: a file that was there is not lost to a full disk.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def load_adapter(model: keras.Model, path: Any) -> None:
    """Reads what `save_adapter` wrote.

    Args:
        model: A built `Hypernetwork`.
        path: Where from.
    """
    places = _small_part(model)
    with np.load(_checked(path)) as file:
        arrays = {name: file[name] for name in file.files}
    shapes = {name: tuple(v.shape) for name, v in places.items()}
    stored = {name: array.shape for name, array in arrays.items()}
    if shapes != stored:
        differing = sorted(n for n in shapes.keys() & stored.keys() if shapes[n] != stored[n])
        raise ValueError(
            f"'{path}' holds the adapter of another model. Missing in the file: "
            f"{sorted(shapes.keys() - stored.keys())}. Unknown to the model: "
            f"{sorted(stored.keys() - shapes.keys())}. Of another shape: "
            f"{[(n, stored[n], shapes[n]) for n in differing]}"
        )
    for name, place in places.items():
        place.assign(arrays[name])


def _small_part(model: Any) -> dict[str, Any]:
    """Returns the variables of the small part by name."""
    bases = {id(slot.base) for slot in model.slots if slot.base is not None}
    frozen = {id(v) for v in model.target.ordinary if not v.trainable}
    return {
        weight.path: weight.variable
        for weight in named_weights(model)
        if id(weight.variable) not in frozen
        and (id(weight.variable) not in bases or model.base_trainable)
    }


def _checked(path: Any) -> pathlib.Path:
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"`path` must end in '.npz'. Received: path={str(path)!r}")
    return path
