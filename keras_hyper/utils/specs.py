"""Shapes and types of the inputs of a model, and building it from them."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_hyper.utils.graph import walk


def input_shapes(model: keras.Model) -> Any:
    """Returns the shapes of the inputs of a built functional or Sequential model."""
    if not model.built or getattr(model, "inputs", None) is None:
        return None
    if isinstance(model, keras.Sequential):
        return tuple(model.inputs[0].shape)
    return keras.tree.map_structure(lambda x: tuple(x.shape), model.input)


def build_target(model: keras.Model, shapes: Any, dtypes: Any) -> None:
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


def check_inputs(model: keras.Model, inputs: Any) -> None:
    """Raises if a functional or Sequential model cannot take inputs of these ranks.

    The model raises itself, but only after its weights were generated.
    """
    if input_shapes(model) is None:
        return
    one = isinstance(model, keras.Sequential)
    structure = model.inputs[0] if one else model.input
    if isinstance(inputs, Mapping) is not isinstance(structure, Mapping):
        return  # Keras looks the inputs up by name.
    if isinstance(structure, Mapping):
        pairs = [
            (inputs.get(name), spec) for name, spec in structure.items() if hasattr(spec, "shape")
        ]
    else:
        pairs = list(zip(keras.tree.flatten(inputs), model.inputs, strict=False))
    axes = (getattr(model.layers[0].input_spec, "axes", None) if one else None) or {}
    for x, spec in pairs:
        if not hasattr(x, "shape") or getattr(x.shape, "rank", 0) is None:
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


def stand_ins(shapes: Any, dtypes: Any) -> Any:
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


def dtype_of(x: Any) -> str | None:
    """Returns the dtype of a tensor, an array or a number, None for none of them."""
    if x is None:
        return None
    return keras.backend.standardize_dtype(x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype)


def as_tuples(shape: Any) -> Any:
    """Returns shapes as tuples, which files have as lists."""
    if isinstance(shape, dict):
        return {key: as_tuples(value) for key, value in shape.items()}
    if isinstance(shape, list | tuple) and any(isinstance(s, list | tuple | dict) for s in shape):
        return [as_tuples(s) for s in shape]
    return None if shape is None else tuple(shape)
