"""Comparison of the outputs of two programs for the same model."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np

from keras_hyper.export.interface import HALF, Arrays
from keras_hyper.utils.graph import walk

_NUMERIC = "fiub"


def alike(
    model: keras.Model,
    a: np.ndarray,
    b: np.ndarray,
    spread: float | None = None,
    slack: float = 1,
) -> bool:
    """Whether outputs `a` equal the expected outputs `b`, within the precision of the model.

    Errors are relative to `spread`, by default that of `b`: outputs such as pressures may be
    large numbers with small differences between samples.
    """
    if a.shape != b.shape:
        return False
    if b.dtype.kind not in _NUMERIC:
        return bool(np.array_equal(a, b))
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    policies = {layer.compute_dtype for layer in walk(model)}
    rounding = 3e-2 if policies & set(HALF) else 1e-4
    spread = _spread(b) if spread is None else spread
    last_digits = 16 * np.finfo("float32").eps * np.abs(b[finite]).max(initial=0)
    gap = np.abs(a[finite] - b[finite]).max(initial=0)
    return bool(gap <= slack * (rounding * spread + last_digits))


def spreads(outputs: Sequence[Arrays]) -> dict[str, float]:
    """Returns the spread of each output over samples, steps and calls."""
    found: dict[str, float] = {}
    for name in outputs[0] if outputs else ():
        arrays = [each[name] for each in outputs]
        if arrays[0].dtype.kind not in _NUMERIC:
            continue
        ends = {array.shape[-1] if array.ndim > 1 else 1 for array in arrays}
        if len(ends) == 1:
            arrays = [np.concatenate([array.reshape(-1, *ends) for array in arrays])]
        found[name] = max(map(_spread, arrays))
    return found


def equal(a: Arrays, b: Arrays) -> bool:
    """Whether all arrays are equal bit by bit."""
    return all(np.array_equal(a[key], b[key], equal_nan=a[key].dtype.kind in "fc") for key in a)


def numbers(array: np.ndarray) -> bool:
    """Whether an array is finite and not empty."""
    return bool(array.size) and (array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))


def _spread(array: np.ndarray) -> float:
    """Returns the largest distance from the mean over all axes but the last."""
    axes = tuple(range(array.ndim - 1)) if array.ndim > 1 else None
    finite = np.where(np.isfinite(array), array, np.nan).astype("float64")
    with warnings.catch_warnings():  # About axes without finite numbers.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(finite, axis=axes, keepdims=True)
    return float(np.nan_to_num(np.abs(finite - mean)).max(initial=0))
