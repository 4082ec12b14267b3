"""Conversions between weights and matrices of some of their axes by the others."""

import math
from collections.abc import Sequence

from keras import ops

from keras_hyper.typing import Tensor


def as_shape(shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> tuple[int, int]:
    """Returns the shape of the matrix of some axes of a weight by the others."""
    return math.prod(shape[axis] for axis in rows), math.prod(shape[axis] for axis in columns)


def as_matrix(
    weight: Tensor, rows: Sequence[int], columns: Sequence[int], batched: bool = False
) -> Tensor:
    """Returns the matrix of some axes of a weight by the others, or a batch of matrices."""
    lead = int(batched)
    order = [*range(lead), *(axis + lead for axis in (*rows, *columns))]
    matrix_shape = as_shape(weight.shape[lead:], rows, columns)
    if order != sorted(order):
        weight = ops.transpose(weight, order)
    return ops.reshape(weight, (*ops.shape(weight)[:lead], *matrix_shape))


def from_matrix(
    matrix: Tensor, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> Tensor:
    """Returns weights from their matrices of shape `(..., height, width)`: inverts `as_matrix`."""
    lead = ops.shape(matrix)[:-2]
    axes = [*rows, *columns]
    weight = ops.reshape(matrix, (*lead, *(shape[axis] for axis in axes)))
    if axes == sorted(axes):
        return weight
    back = [axes.index(axis) + len(lead) for axis in range(len(axes))]
    return ops.transpose(weight, [*range(len(lead)), *back])
