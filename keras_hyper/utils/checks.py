"""Checks of arguments."""

from collections.abc import Sequence
from numbers import Integral, Real

import keras
import numpy as np

from keras_hyper.typing import Tensor


def wrong_type(name: str, value: object, expected: str) -> TypeError:
    """Returns an error for an argument that must be, for example, `"a Keras model"`."""
    return TypeError(
        f"`{name}` must be {expected}. Received: {name}={value!r} (of type {type(value).__name__})"
    )


def positive_int(name: str, value: object) -> int:
    """Returns `value` as an int. Raises if it is not a positive integer."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise wrong_type(name, value, "a positive integer")
    if value <= 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
    return int(value)


def size(name: str, value: object) -> int:
    """Returns `value` as an int. Raises `ValueError` for wrong types too, as stock layers do."""
    try:
        return positive_int(name, value)
    except TypeError as error:
        raise ValueError(*error.args) from None


def positive_ints(name: str, values: object) -> tuple[int, ...]:
    """Returns `values` as a tuple. Raises if it is not a sequence of positive integers."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise wrong_type(name, values, "a tuple of positive integers")
    return tuple(positive_int(f"{name}[{i}]", value) for i, value in enumerate(values))


def rate(name: str, value: object) -> float:
    """Returns `value` as a float. Raises if it is not a dropout rate."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong_type(name, value, "a number, at least 0 and less than 1")
    if not 0 <= float(value) < 1:
        raise ValueError(f"`{name}` must be at least 0 and less than 1. Received: {name}={value}")
    return float(value)


def check_model(model: object) -> None:
    """Raises if `model` is not a Keras model."""
    if not isinstance(model, keras.Model):
        raise wrong_type("model", model, "a Keras model")


def check_built(model: object) -> None:
    """Raises if `model` is not a Keras model or layer, or if it is not built."""
    if not isinstance(model, keras.Layer):
        raise wrong_type("model", model, "a Keras model or layer")
    if not model.built:
        kind = "Model" if isinstance(model, keras.Model) else "Layer"
        raise ValueError(f"{kind} '{model.name}' is not built. Call it on inputs first.")


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Returns `value`. Raises if it is not one of the `allowed` strings."""
    if value not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
    return str(value)


def numeric(name: str, value: Tensor) -> Tensor:
    """Returns a tensor or array unchanged, or converts lists of numbers. Raises for other data."""
    if not hasattr(value, "dtype") and hasattr(value, "__array__"):
        value = np.asarray(value)  # A data frame.
    if not all(map(_is_numeric, keras.tree.flatten(value))):
        raise wrong_type(name, value, "an array of numbers")
    return value if hasattr(value, "dtype") else keras.ops.convert_to_tensor(value)


def _is_numeric(value: object) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind not in "OSUMmc"
    return isinstance(value, Real) or (hasattr(value, "dtype") and hasattr(value, "shape"))


def name_of(value: object) -> str:
    """Returns an initializer, a constraint or a function as it is written in code."""
    if isinstance(value, type) or not hasattr(value, "get_config"):
        return getattr(value, "__name__", None) or repr(value)
    arguments = ", ".join(f"{name}={name_of(v)}" for name, v in value.get_config().items())
    return f"{type(value).__name__}({arguments})"


def floating(name: str, tensor: Tensor, advice: str) -> None:
    """Raises if `tensor` does not have a floating point dtype."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`{name}` must be floating point. Received: dtype={dtype}. {advice}")
