"""Products with per-sample weights: dense, and looking up rows.

Pure functions on tensors whose batch size may be unknown. They are written with
`@`, because `keras.ops.matmul` rounds float64 to float32 on PyTorch.
"""

import functools
import operator
from collections.abc import Sequence

import keras
from keras import ops

from keras_hyper.typing import Tensor


def per_sample_dense(inputs: Tensor, kernels: Tensor) -> Tensor:
    """Returns `outputs[b] = inputs[b] @ kernels[b]`.

    Args:
        inputs: Tensor of shape `(batch, ..., in)`, of rank 2 or more.
        kernels: Tensor of shape `(batch, in, out)`.

    Returns:
        Tensor of shape `(batch, ..., out)`.

    Examples:
        >>> from keras import ops
        >>> from keras_hyper.ops import per_sample_dense
        >>> tuple(per_sample_dense(ops.ones((2, 7, 4)), ops.ones((2, 4, 3))).shape)
        (2, 7, 3)
    """
    batch, *positions = ops.shape(inputs)[:-1]
    fan_in, fan_out = kernels.shape[1:]
    # A product would broadcast a batch of one. The reshape raises, except in a
    # TensorFlow graph of unknown batch, whose optimizer may drop it.
    kernels = ops.reshape(kernels, (batch, fan_in, fan_out))
    rows = ops.reshape(inputs, (batch, product(positions), fan_in))
    return ops.reshape(rows @ kernels, (batch, *positions, fan_out))


def shared_dense(inputs: Tensor, weight: Tensor) -> Tensor:
    """Returns `inputs @ weight`, as one product of all rows.

    On TensorFlow, the gradient of a product that broadcasts has a weight for each sample.

    Args:
        inputs: Tensor of shape `(..., in)`.
        weight: Tensor of shape `(in, out)`.

    Returns:
        Tensor of shape `(..., out)`.
    """
    if len(inputs.shape) == 2:
        # `ops.matmul` takes sparse inputs, but rounds float64 on PyTorch.
        torch = keras.backend.backend() == "torch"
        return inputs @ weight if torch else ops.matmul(inputs, weight)
    *lead, fan_in = ops.shape(inputs)
    return ops.reshape(ops.reshape(inputs, (-1, fan_in)) @ weight, (*lead, weight.shape[-1]))


def per_sample_take(tables: Tensor, ids: Tensor) -> Tensor:
    """Looks up rows in per-sample tables.

    Ids beyond the rows do what they do in `keras.ops.take` on each backend:
    an error, or NaN on JAX.

    Args:
        tables: Tensor of shape `(batch, rows, dim)`.
        ids: Tensor of shape `(batch, ...)`, int32 or int64, which can number the rows of
            all tables.

    Returns:
        Tensor of shape `(batch, ..., dim)`.

    Examples:
        >>> from keras import ops
        >>> from keras_hyper.ops import per_sample_take
        >>> ids = ops.array([[0, 4], [1, 1]], dtype="int32")
        >>> tuple(per_sample_take(ops.ones((2, 5, 3)), ids).shape)
        (2, 2, 3)
    """
    batch, *positions = ops.shape(ids)
    rows, dim = tables.shape[1:]
    if 0 in ids.shape:
        # JAX gives another shape. The sum lets gradients through.
        return ops.zeros((*ids.shape, dim), tables.dtype) + ops.sum(tables)
    # One table with the tables of all samples, as `ops.take` has no batch axes.
    first = ops.reshape(ops.arange(batch, dtype=ids.dtype) * rows, (batch, *(1,) * len(positions)))
    flat = ops.reshape(tables, (batch * rows, dim))
    # Not into the table of another sample.
    inside = ops.logical_and(ids >= 0, ids < rows)
    return ops.take(flat, ops.where(inside, ids + first, batch * rows), axis=0)


def product(lengths: Sequence[Tensor]) -> Tensor:
    """Returns the product of axis lengths, each an integer or a scalar tensor."""
    return functools.reduce(operator.mul, lengths, 1)
