"""Checks of arguments, with messages that say what was received and what works."""

from collections.abc import Sequence
from numbers import Integral, Real

import keras
import numpy as np

from keras_hyper.typing import Tensor


def positive_int(name: str, value: object) -> int:
    """Returns `value` as an int, or raises if it is no integer above zero."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"`{name}` must be a positive integer. Received: {name}={value!r} "
            f"(of type {type(value).__name__})"
        )
    if value <= 0:
        raise ValueError(f"`{name}` must be a positive integer. Received: {name}={value}")
    return int(value)


def size(name: str, value: object) -> int:
    """Returns a size of a stock layer as an int; raises what the stock layers raise."""
    try:
        return positive_int(name, value)
    except TypeError as error:
        raise ValueError(*error.args) from None


def positive_ints(name: str, values: object) -> tuple[int, ...]:
    """Returns `values` as a tuple of ints above zero."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(
            f"`{name}` must be a tuple of positive integers. Received: {name}={values!r}"
        )
    return tuple(positive_int(f"{name}[{i}]", value) for i, value in enumerate(values))


def rate(name: str, value: object) -> float:
    """Returns `value` as a float, or raises if it is no rate of dropout."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(
            f"`{name}` must be a number, at least 0 and less than 1. Received: {name}={value!r} "
            f"(of type {type(value).__name__})"
        )
    if not 0 <= float(value) < 1:
        raise ValueError(f"`{name}` must be at least 0 and less than 1. Received: {name}={value}")
    return float(value)


def check_model(model: object) -> None:
    """Raises if `model` is not a Keras model."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a Keras model. Received: model={model!r} (of type "
            f"{type(model).__name__})"
        )


def one_of(name: str, value: object, allowed: Sequence[str]) -> str:
    """Returns `value`, or raises if it is none of the `allowed` strings."""
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
    return str(value)


def numeric(name: str, value: Tensor) -> Tensor:
    """Returns a list of numbers as a tensor, and tensors and arrays of numbers as they are."""
    if not hasattr(value, "dtype") and hasattr(value, "__array__"):
        value = np.asarray(value)  # A data frame.
    if not all(map(_is_numeric, keras.tree.flatten(value))):
        raise TypeError(
            f"`{name}` must be an array of numbers. Received: {name}={value!r} (of type "
            f"{type(value).__name__})"
        )
    return value if hasattr(value, "dtype") else keras.ops.convert_to_tensor(value)


def _is_numeric(value: object) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind not in "OSUMmc"
    tensor = hasattr(value, "dtype") and hasattr(value, "shape")
    return tensor or isinstance(value, Real)


def name_of(value: object) -> str:
    """Returns how an initializer, a constraint or a function is written in code."""
    if isinstance(value, type) or not hasattr(value, "get_config"):
        return getattr(value, "__name__", None) or repr(value)
    arguments = ", ".join(f"{name}={name_of(v)}" for name, v in value.get_config().items())
    return f"{type(value).__name__}({arguments})"


def floating(name: str, tensor: Tensor, advice: str) -> None:
    """Raises if `tensor` does not have a floating point dtype."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(f"`{name}` must be floating point. Received: dtype={dtype}. {advice}")
