"""Whether two ways to compute what a model does agree."""

import warnings
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_hyper.export.interface import HALF
from keras_hyper.utils.graph import walk

Arrays = Mapping[str, np.ndarray]


def alike(
    model: keras.Model,
    a: np.ndarray,
    b: np.ndarray,
    spread: float | None = None,
    slack: float = 1,
) -> bool:
    """Whether outputs are those that are expected, as the precision of the model allows.

    Outputs may be large numbers that hardly differ, such as pressures. The difference
    between samples and steps must agree: `spread`, or that of the expected outputs `b`.
    """
    if a.shape != b.shape:
        return False
    if b.dtype.kind not in "fiub":
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
    """Returns how much each output differs between samples, steps and calls."""
    found: dict[str, float] = {}
    for name in outputs[0] if outputs else ():
        arrays = [each[name] for each in outputs]
        if arrays[0].dtype.kind not in "fiub":
            continue
        ends = {array.shape[-1] if array.ndim > 1 else 1 for array in arrays}
        if len(ends) == 1:
            arrays = [np.concatenate([array.reshape(-1, *ends) for array in arrays])]
        found[name] = max(map(_spread, arrays))
    return found


def equal(a: Arrays, b: Arrays) -> bool:
    """Whether all numbers are the same bits."""
    return all(np.array_equal(a[key], b[key], equal_nan=a[key].dtype.kind in "fc") for key in a)


def numbers(array: np.ndarray) -> bool:
    """Whether an array is not empty, and finite."""
    return bool(array.size) and (array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))


def _spread(array: np.ndarray) -> float:
    """Returns how far numbers are from the mean over all axes but the last, at most."""
    axes = tuple(range(array.ndim - 1)) if array.ndim > 1 else None
    finite = np.where(np.isfinite(array), array, np.nan).astype("float64")
    with warnings.catch_warnings():  # Of axes without finite numbers.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(finite, axis=axes, keepdims=True)
    return float(np.nan_to_num(np.abs(finite - mean)).max(initial=0))
