"""How a stored base weight and generated values make one weight."""

import math
from collections.abc import Sequence

import keras

from keras_hyper.initializers import fans, weight_std
from keras_hyper.kernels import Kernel, Scaled, Sum, as_shape
from keras_hyper.typing import Initializer, Tensor
from keras_hyper.utils.checks import one_of

COMPOSITIONS = ("replace", "add", "multiply", "scale")


def as_composition(composition: object) -> str:
    """Returns the name of a composition, or raises if it is none."""
    # HDF5 files of whole models give `keras.layers.add` for its name, if nothing else has it.
    if composition is keras.layers.add or composition is keras.layers.multiply:
        composition = composition.__name__
    return one_of("composition", composition, COMPOSITIONS)


def generated_part(
    weight_shape: Sequence[int],
    initializer: Initializer,
    composition: str,
    unit_axes: Sequence[int] = (-1,),
) -> tuple[tuple[int, ...], Initializer]:
    """Returns shape and initializer of what a generator makes for a weight.

    Args:
        weight_shape: Shape of the weight.
        initializer: Keras initializer of the weight.
        composition: One of `"replace"`, `"add"`, `"multiply"` and `"scale"`.
        unit_axes: The axes of the weight that number its units.
    """
    shape = tuple(weight_shape)
    if composition == "replace":
        return shape, initializer
    if composition == "scale":
        units = {axis % len(shape) for axis in unit_axes}
        shape = tuple(n if axis in units else 1 for axis, n in enumerate(shape))
    # A change of the weight is as large as the weight, a factor as large as 1.
    # Not every initializer has a known standard deviation; any will do then.
    std = 1.0
    if composition == "add":
        std = weight_std(initializer, shape) or 1 / math.sqrt(fans(shape)[0])
    return shape, of_std(std, shape)


def matrix_part(
    weight_shape: tuple[int, ...], initializer: Initializer, rows: tuple[int, ...] | None
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Initializer] | None:
    """Returns rows, columns, shape and initializer of the matrix that is the product of factors.

    Returns None if the weight itself is that matrix, or its standard deviation is not known.

    Args:
        weight_shape: Shape of the weight.
        initializer: Keras initializer of the weight.
        rows: The axes of the weight that are the rows, None for all but the last.
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
    """Returns the weight that a base and a generated change make.

    Args:
        composition: `"add"`: `W_0 + D`. `"multiply"`: `W_0 (1 + D)`, number by number. `"scale"`:
            the same with one factor for each unit.
        base: Tensor, `W_0`; for `"add"`, None for zero.
        change: Kernel, `D`.
        unit_axes: The axes of the weight that number its units.
    """
    if composition == "multiply":
        change = change.times(base)
    if composition == "scale":
        return Scaled(base, 1 + change.materialize(), unit_axes)
    return change if base is None else Sum(base, change)


def of_std(std: float, shape: Sequence[int]) -> keras.Initializer:
    """Returns an initializer of a standard deviation, for a weight of a shape."""
    scale = std**2 * max(1, fans(shape)[0])
    return keras.initializers.VarianceScaling(scale, "fan_in", "untruncated_normal")
