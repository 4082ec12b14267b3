"""Dense products and lookups with per-sample weights, also for unknown batch sizes.

Products use `@`, because `keras.ops.matmul` rounds float64 to float32 on PyTorch.
"""

import math

import keras
from keras import ops

from keras_hyper.typing import Tensor


def per_sample_dense(inputs: Tensor, kernels: Tensor) -> Tensor:
    """Returns `outputs[b] = inputs[b] @ kernels[b]`.

    Args:
        inputs: Tensor of shape `(batch, ..., in)`.
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
    # Without the reshape, the product would broadcast a batch of one. In a TensorFlow graph of
    # unknown batch size, the optimizer may drop the reshape.
    kernels = ops.reshape(kernels, (batch, fan_in, fan_out))
    rows = ops.reshape(inputs, (batch, math.prod(positions), fan_in))
    return ops.reshape(rows @ kernels, (batch, *positions, fan_out))


def shared_dense(inputs: Tensor, weight: Tensor) -> Tensor:
    """Returns `inputs @ weight` for inputs of shape `(..., in)`, as one product of all rows.

    On TensorFlow, the gradient of a broadcasting product would have per-sample weights.
    """
    if len(inputs.shape) == 2:
        # `ops.matmul` supports sparse inputs, but rounds float64 on PyTorch.
        torch = keras.backend.backend() == "torch"
        return inputs @ weight if torch else ops.matmul(inputs, weight)
    *lead, fan_in = ops.shape(inputs)
    return ops.reshape(ops.reshape(inputs, (-1, fan_in)) @ weight, (*lead, weight.shape[-1]))


def per_sample_take(tables: Tensor, ids: Tensor) -> Tensor:
    """Looks up rows in per-sample tables.

    Ids out of range are handled as by `keras.ops.take`: an error, or NaN on JAX.

    Args:
        tables: Tensor of shape `(batch, rows, dim)`.
        ids: Tensor of shape `(batch, ...)`, int32 or int64. The dtype must hold `batch * rows`.

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
        # JAX returns a different shape. The sum keeps the gradient defined.
        return ops.zeros((*ids.shape, dim), tables.dtype) + ops.sum(tables)
    # Concatenate the tables of all samples, since `ops.take` has no batch axes.
    first = ops.reshape(ops.arange(batch, dtype=ids.dtype) * rows, (batch, *(1,) * len(positions)))
    flat = ops.reshape(tables, (batch * rows, dim))
    # Ids out of range must not reach the table of a different sample.
    inside = ops.logical_and(ids >= 0, ids < rows)
    return ops.take(flat, ops.where(inside, ids + first, batch * rows), axis=0)
