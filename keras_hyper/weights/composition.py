"""Composition of a stored base weight with generated values."""

import math
from collections.abc import Sequence

import keras

from keras_hyper.initializers import fans, weight_std
from keras_hyper.kernels import Kernel, Scaled, Sum, as_shape
from keras_hyper.typing import Initializer, Tensor
from keras_hyper.utils.checks import one_of

COMPOSITIONS = ("replace", "add", "multiply", "scale")


def as_composition(composition: object) -> str:
    """Returns `composition`, or raises if it is invalid."""
    # HDF5 files of whole models resolve the name to `keras.layers.add`.
    if composition is keras.layers.add or composition is keras.layers.multiply:
        composition = composition.__name__
    return one_of("composition", composition, COMPOSITIONS)


def generated_part(
    weight_shape: Sequence[int],
    initializer: Initializer,
    composition: str,
    unit_axes: Sequence[int],
) -> tuple[tuple[int, ...], Initializer]:
    """Returns the shape and the initializer of the generated part of a weight."""
    shape = tuple(weight_shape)
    if composition == "replace":
        return shape, initializer
    if composition == "scale":
        units = {axis % len(shape) for axis in unit_axes}
        shape = tuple(n if axis in units else 1 for axis, n in enumerate(shape))
    # A summand is as large as the weight, and a factor as large as 1.
    # The fallback is for initializers of unknown standard deviation.
    std = 1.0
    if composition == "add":
        std = weight_std(initializer, shape) or 1 / math.sqrt(fans(shape)[0])
    return shape, of_std(std, shape)


def matrix_part(
    weight_shape: tuple[int, ...], initializer: Initializer, rows: tuple[int, ...] | None
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Initializer] | None:
    """Returns rows, columns, shape and initializer of a weight as a matrix for factorization.

    Returns None if the rows are all axes but the last, or the standard deviation is unknown.
    """
    rank = len(weight_shape)
    if rows is None or rows == tuple(range(rank - 1)):
        return None
    std = weight_std(initializer, weight_shape)
    if not std:
        return None
    columns = tuple(axis for axis in range(rank) if axis not in rows)
    shape = as_shape(weight_shape, rows, columns)
    return rows, columns, shape, of_std(std, shape)


def compose(
    composition: str, base: Tensor | None, change: Kernel, unit_axes: Sequence[int]
) -> Kernel:
    """Returns the composition of a base weight and a generated change, see `GeneratedWeight`.

    For `"add"` the base may be None, which means zero.
    """
    if composition == "multiply":
        change = change.times(base)
    if composition == "scale":
        return Scaled(base, 1 + change.materialize(), unit_axes)
    return change if base is None else Sum(base, change)


def of_std(std: float, shape: Sequence[int]) -> keras.Initializer:
    """Returns an initializer of a given standard deviation."""
    scale = std**2 * max(1, fans(shape)[0])
    return keras.initializers.VarianceScaling(scale, "fan_in", "untruncated_normal")
