"""Functions for tensors of every precision: conversion to arrays, and normalization."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_hyper.typing import DType, Tensor

_EPSILON = 1e-7
# Sums of squares of larger values may overflow in float32.
_LARGE = 2.0**40


def at_least_float32(dtype: DType) -> str:
    """Returns float64 for float64, and float32 for narrower dtypes."""
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def rms_normalize(inputs: Tensor, axis: int | Sequence[int] = -1) -> Tensor:
    """Returns `inputs / sqrt(mean(inputs ** 2) + 1e-7)`.

    `keras.ops.rms_normalization` rounds float64 to float32 on JAX and PyTorch, and overflows for
    large inputs. This function divides them by their largest magnitude first.

    Args:
        inputs: Floating point tensor.
        axis: The axis or axes that are normalized together, of known lengths.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    dtype = at_least_float32(inputs.dtype)
    wide = ops.cast(inputs, dtype)
    count = math.prod(inputs.shape[a] for a in axes)
    empty = any(isinstance(length, int) and length == 0 for length in inputs.shape)
    largest = ops.max(ops.abs(wide), axis=axes, keepdims=True, initial=0.0 if empty else None)
    # No gradient: the result does not depend on the factor. It is finite for all inputs.
    most = 2.0**100 if dtype == "float32" else 2.0**1000
    factor = ops.stop_gradient(ops.clip(largest * (1 / _LARGE), 1.0, most))
    wide = wide / factor
    mean = ops.sum(ops.square(wide), axis=axes, keepdims=True) * (1 / count if count else 0.0)
    return ops.cast(wide * ops.rsqrt(mean + _EPSILON / ops.square(factor)), inputs.dtype)


def to_numpy(value: Tensor) -> Tensor:
    """Returns a tensor, variable or array as an array of the same dtype."""
    # NumPy warns of copies when Keras converts a variable.
    if isinstance(value, keras.Variable):
        value = ops.stop_gradient(value)
    if not len(value.shape):
        # TensorFlow cannot convert bfloat16 scalars.
        return ops.convert_to_numpy(ops.reshape(value, (1,)))[0, ...]
    return ops.convert_to_numpy(value)


def as_array(tensor: Tensor) -> np.ndarray:
    """Returns a tensor, variable or array as an array of a dtype that NumPy files support.

    Half precision becomes single precision.
    """
    if not isinstance(tensor, keras.Variable):
        tensor = ops.convert_to_tensor(tensor)
    if keras.backend.is_float_dtype(tensor.dtype):
        tensor = ops.cast(ops.stop_gradient(tensor), at_least_float32(tensor.dtype))
    return np.asarray(to_numpy(tensor))
