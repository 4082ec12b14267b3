"""Files with the adapter of a hypernetwork: all variables except the frozen base."""

from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.ops import as_array
from keras_hyper.typing import FilePath
from keras_hyper.utils.files import check_ending, replacing
from keras_hyper.utils.graph import finish_loading, variable_name

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel


def save_adapter(model: "GeneratingModel", path: FilePath) -> None:
    """Writes the adapter of a built hypernetwork."""
    path = check_ending(path, ".npz")
    arrays = {name: as_array(v) for name, v in _adapter_of(model).items()}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_adapter(model: "GeneratingModel", path: FilePath) -> None:
    """Reads a file of `save_adapter` into a built hypernetwork."""
    variables, path = _adapter_of(model), check_ending(path, ".npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # Raised by NumPy, by `zipfile` or by `zlib`.
        raise ValueError(
            f"'{path}' could not be read as an adapter file of `save_adapter` "
            f"({type(error).__name__}: {error})."
        ) from error
    shapes = {name: tuple(v.shape) for name, v in variables.items()}
    stored = {name: np.shape(array) for name, array in arrays.items()}
    if shapes != stored:
        differing = sorted(n for n in shapes.keys() & stored.keys() if shapes[n] != stored[n])
        raise ValueError(
            f"'{path}' holds the adapter of another model. Missing in the file: "
            f"{sorted(shapes.keys() - stored.keys())}. Unknown to the model: "
            f"{sorted(stored.keys() - shapes.keys())}. Of different shapes in file and model: "
            f"{[(n, stored[n], shapes[n]) for n in differing]}"
        )
    # All arrays are checked before the first assignment.
    texts = sorted(name for name, array in arrays.items() if array.dtype.kind not in "biuf")
    if texts:
        raise ValueError(f"'{path}' has arrays that are not real numbers: {texts}")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    finish_loading(model.target)


def _adapter_of(model: "GeneratingModel") -> dict[str, keras.Variable]:
    """Returns the variables of the adapter, under names that do not differ between processes."""
    model.runner.added()  # Drops the bases of layers that were quantized since.
    of_target = {id(v) for v in model.target.weights}
    generated = model.generated_weights
    bases = [weight.base for weight in generated.values() if id(weight.base) in of_target]
    frozen = [*model.runner.frozen, *([] if model.base_trainable else bases)]
    # A variable that was unfrozen since is trained. One that was frozen since may have been.
    left_out = {id(v) for v in frozen if not v.trainable}
    parts = {path: weight.weights for path, weight in generated.items()}
    parts["condition"] = [] if model.condition is None else model.condition.weights
    parts["target"] = model.runner.stored()
    adapter: dict[str, keras.Variable] = {}
    for name, held in parts.items():
        for i, variable in enumerate(held):
            if id(variable) not in left_out:
                adapter[f"{name}/{i}/{variable_name(variable)}"] = variable
                left_out.add(id(variable))  # A shared generator is written once.
    return adapter
