"""A file with the small part of a hypernetwork: all but the frozen base."""

import os
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.ops import as_array
from keras_hyper.utils.files import check_ending, replacing
from keras_hyper.utils.graph import finish_loading, variable_name

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel


def save_adapter(model: "GeneratingModel", path: str | os.PathLike[str]) -> None:
    """Writes the weights of a built hypernetwork that are not frozen weights of its target."""
    path = check_ending(path, ".npz")
    arrays = {name: as_array(v) for name, v in _small_part(model).items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_adapter(model: "GeneratingModel", path: str | os.PathLike[str]) -> None:
    """Reads what `save_adapter` wrote into a built hypernetwork."""
    places, path = _small_part(model), check_ending(path, ".npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # Of NumPy, of the archive, or of what is compressed in it.
        raise ValueError(
            f"'{path}' could not be read as an adapter, which `save_adapter` writes "
            f"({type(error).__name__}: {error})."
        ) from error
    shapes = {name: tuple(v.shape) for name, v in places.items()}
    stored = {name: np.shape(array) for name, array in arrays.items()}
    if shapes != stored:
        differing = sorted(n for n in shapes.keys() & stored.keys() if shapes[n] != stored[n])
        raise ValueError(
            f"'{path}' holds the adapter of another model. Missing in the file: "
            f"{sorted(shapes.keys() - stored.keys())}. Unknown to the model: "
            f"{sorted(stored.keys() - shapes.keys())}. Of another shape: "
            f"{[(n, stored[n], shapes[n]) for n in differing]}"
        )
    # All are checked before the first is assigned.
    texts = sorted(name for name, array in arrays.items() if array.dtype.kind not in "biuf")
    if texts:
        raise ValueError(f"'{path}' has arrays that are not real numbers: {texts}")
    for name, place in places.items():
        place.assign(arrays[name])
    finish_loading(model.target)


def _small_part(model: "GeneratingModel") -> dict[str, keras.Variable]:
    """Returns the variables of the small part, by names that no counter has numbered."""
    model.runner.added()  # Drops the bases of layers that were quantized since.
    variables = model.target_variables
    of_target = {id(v) for v in model.target.weights}
    generated = model.generated_weights
    bases = [weight.base for weight in generated.values() if id(weight.base) in of_target]
    frozen = [*variables.frozen, *([] if model.base_trainable else bases)]
    # What was thawed since is trained; what was frozen since may have been.
    left_out = {id(v) for v in frozen if not v.trainable}
    parts = {path: weight.weights for path, weight in generated.items()}
    parts["condition"] = [] if model.condition is None else model.condition.weights
    parts["target"] = variables.stored()
    small: dict[str, keras.Variable] = {}
    for name, held in parts.items():
        for i, variable in enumerate(held):
            if id(variable) not in left_out:
                small[f"{name}/{i}/{variable_name(variable)}"] = variable
                left_out.add(id(variable))  # A shared generator is written once.
    return small
