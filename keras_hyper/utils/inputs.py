"""What a model takes: its inputs as symbolic tensors, their shapes and their names."""

import keyword
import re
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_hyper.typing import Config, Shapes, Tensor, Tensors
from keras_hyper.utils.graph import walk

# What Keras calls inputs that were given no name.
_MADE_UP = re.compile(r"|(keras_tensor|input_layer)(_\d+)?")


def inputs_of(model: keras.Model, build_config: Config | None = None) -> Tensors | None:
    """Returns what a model takes, as symbolic tensors, or None if that is not known.

    Args:
        model: A model.
        build_config: Shapes and dtypes that a subclassed model was built for.
    """
    if getattr(model, "inputs", None) is not None:
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if build_config is None:
        return None
    return stand_ins(build_config["inputs_shape"], build_config["input_dtypes"])


def input_shapes(model: keras.Model) -> Shapes | None:
    """Returns the shapes of the inputs of a built functional or Sequential model."""
    inputs = inputs_of(model) if model.built else None
    return None if inputs is None else keras.tree.map_structure(lambda x: tuple(x.shape), inputs)


def stand_ins(shapes: Shapes, dtypes: Tensors) -> Tensors:
    """Returns symbolic inputs of any batch size, of shapes and dtypes in one structure."""
    if shapes is None:
        return None  # An optional input that was not given.
    if isinstance(shapes, dict):
        return {k: stand_ins(v, (dtypes or {}).get(k)) for k, v in shapes.items()}
    if any(isinstance(s, list | tuple | dict) for s in shapes):
        dtypes = dtypes or [None] * len(shapes)
        return [stand_ins(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    # Built for the batch size of its first call, a model would take no other.
    return keras.KerasTensor((None, *shapes[1:]), dtype=dtypes or keras.config.floatx())


def build_target(model: keras.Model, shapes: Shapes, dtypes: Tensors) -> None:
    """Builds a model by a symbolic call, which builds all of its layers."""
    if model.built and all(layer.built for layer in walk(model)):
        return
    try:
        model(stand_ins(shapes, dtypes))
    except Exception as error:
        raise ValueError(
            f"The target '{model.name}' ({type(model).__name__}) cannot be built for inputs of "
            f"shape {shapes}: {type(error).__name__}: {error}"
        ) from error


def check_inputs(model: keras.Model, inputs: Tensors) -> None:
    """Raises if a functional or Sequential model cannot take inputs of these ranks.

    The model raises itself, but only after its weights were generated.
    """
    structure = inputs_of(model) if model.built else None
    if structure is None or isinstance(inputs, Mapping) is not isinstance(structure, Mapping):
        return  # Keras looks inputs in a dict up by name.
    if isinstance(structure, Mapping):
        pairs = [(inputs.get(name), spec) for name, spec in structure.items()]
    else:
        pairs = list(zip(keras.tree.flatten(inputs), model.inputs, strict=False))
    sequential = isinstance(model, keras.Sequential)
    axes = (getattr(model.layers[0].input_spec, "axes", None) if sequential else None) or {}
    for x, spec in pairs:
        known = hasattr(x, "shape") and hasattr(spec, "shape")
        if not known or getattr(x.shape, "rank", 0) is None:
            continue
        shape, expected = tuple(x.shape), tuple(spec.shape)
        # Keras adds or removes a last axis of length 1.
        if len(shape) == len(expected):
            fits = all(shape[axis] in (size, None) for axis, size in axes.items() if size)
        elif abs(len(shape) - len(expected)) == 1:
            fits = max(shape, expected, key=len)[-1] == 1
        else:
            fits = False
        if not fits:
            raise ValueError(
                f"Input '{spec.name}' is incompatible with the target '{model.name}'. Expected: a "
                f"tensor of shape {expected}. Received: a tensor of shape {shape}"
            )


def dtype_of(x: Tensor) -> str | None:
    """Returns the dtype of a tensor, an array or a number, None for none of them."""
    if x is None:
        return None
    return str(
        keras.backend.standardize_dtype(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype)
    )


def as_tuples(shape: Shapes) -> Shapes:
    """Returns shapes as tuples, which files have as lists."""
    if isinstance(shape, dict):
        return {key: as_tuples(value) for key, value in shape.items()}
    if isinstance(shape, list | tuple) and any(isinstance(s, list | tuple | dict) for s in shape):
        return [as_tuples(s) for s in shape]
    return None if shape is None else tuple(shape)


def clean(name: str) -> str:
    """Returns a name that an argument of a function can have."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    name = name if name[:1].isalpha() else f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def named(structure: Tensors, name: str, known: Sequence[str] = ()) -> dict[str, Tensor]:
    """Returns the leaves of a structure by name.

    Args:
        structure: Tensors, in dicts and lists.
        name: What one that has no name is called.
        known: Names of the leaves of a list, if they have any.
    """
    pairs = keras.tree.flatten_with_path(structure)
    leaves = [leaf for _, leaf in pairs]
    known = known or [leaf.name or "" for leaf in leaves if isinstance(leaf, keras.KerasTensor)]
    if isinstance(structure, Mapping):
        names = [clean("_".join(map(str, path))) for path, _ in pairs]
    else:
        names = ["_".join([name, *map(str, path)]) for path, _ in pairs]
        if len(known) == len(names) and (name == "inputs" or len(names) > 1):
            both = zip(known, names, strict=True)
            own = [clean(given) if not _MADE_UP.fullmatch(given) else n for given, n in both]
            names = own if len(set(own)) == len(own) else names
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(
            "Two inputs or outputs of the model have the same name for a client: "
            f"{sorted(names)}. Letters besides a to z, digits and _ are written as _, and "
            "TensorFlow does not tell large letters from small ones."
        )
    return dict(zip(names, leaves, strict=True))
