"""Scaling to a root mean square of 1, in every precision."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_hyper.typing import DType, Tensor

_EPSILON = 1e-7
# The square of a larger number, or a sum of such squares, could leave the range of float32.
_LARGE = 2.0**40


def at_least_float32(dtype: DType) -> str:
    """Returns float64 for float64, and float32 for everything narrower."""
    return "float64" if keras.backend.standardize_dtype(dtype) == "float64" else "float32"


def rms_normalize(inputs: Tensor, axis: int | Sequence[int] = -1) -> Tensor:
    """Returns `inputs / sqrt(mean(inputs ** 2) + 1e-7)`.

    `keras.ops.rms_normalization` is the same, but rounds float64 to float32 on
    JAX and PyTorch, as `keras.ops.mean` does. It also squares large inputs, which
    overflow; they are divided by their largest magnitude first here.

    Args:
        inputs: Floating point tensor.
        axis: The axis or axes that are normalized together, of known lengths.

    Returns:
        Tensor of the shape and dtype of the inputs.
    """
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    dtype = at_least_float32(inputs.dtype)
    wide = ops.cast(inputs, dtype)
    count = math.prod(inputs.shape[a] for a in axes)
    empty = any(isinstance(length, int) and length == 0 for length in inputs.shape)
    largest = ops.max(ops.abs(wide), axis=axes, keepdims=True, initial=0.0 if empty else None)
    # A constant: the result does not depend on it. Finite, also where the inputs are not.
    most = 2.0**100 if dtype == "float32" else 2.0**1000
    factor = ops.stop_gradient(ops.clip(largest * (1 / _LARGE), 1.0, most))
    wide = wide / factor
    mean = ops.sum(ops.square(wide), axis=axes, keepdims=True) * (1 / count if count else 0.0)
    return ops.cast(wide * ops.rsqrt(mean + _EPSILON / ops.square(factor)), inputs.dtype)
