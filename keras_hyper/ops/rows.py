"""Per-sample values, also of shapes that are unknown in a TensorFlow graph."""

import keras
from keras import ops

from keras_hyper.typing import Shape, Tensor


def same_batch(condition: Tensor, inputs: Tensor, rank: int = 1) -> Tensor:
    """Returns a condition that raises at run time if the inputs have a different batch size.

    In a TensorFlow graph the batch sizes may be unknown, and some products would broadcast a
    condition of one row. Known batch sizes are checked elsewhere.

    Args:
        condition: Tensor of shape `(batch, dim)`, or `(dim,)`, which fits any inputs.
        inputs: Tensor of shape `(batch, ...)`.
        rank: Rank of a condition for one sample.
    """
    unknown = len(condition.shape) > rank and None in (condition.shape[0], inputs.shape[0])
    symbolic = any(isinstance(x, keras.KerasTensor) for x in (condition, inputs))
    if not unknown or symbolic or keras.backend.backend() != "tensorflow":
        return condition
    import tensorflow as tf

    rows, batch = ops.shape(condition)[0], ops.shape(inputs)[0]
    message = (
        "`condition` must have one row per sample, or the shape (dim,). Received numbers of rows "
        "and samples:"
    )
    same = tf.debugging.Assert(tf.equal(rows, batch), [message, rows, batch])
    with tf.control_dependencies([same]):
        # XLA drops the assertion, but does not compile this reshape for different sizes.
        return ops.reshape(condition, (batch, *condition.shape[1:]))


def with_known_rank(value: Tensor, row: Shape, inputs: Tensor = None) -> Tensor:
    """Returns a value of unknown rank as a tensor of shape `(batch, *row)`.

    After calls with values of two ranks, such as `(batch,)` and `(batch, 1)`, Keras
    traces a TensorFlow graph for a value of unknown rank.

    Args:
        value: Tensor, returned unchanged if its rank is known.
        row: Shape of the value for one sample.
        inputs: Optional tensor of shape `(batch, ...)`. A value without a batch axis is repeated
            for its samples. Without `inputs`, it becomes one row.
    """
    if getattr(value.shape, "rank", 0) is not None or None in row:
        return value
    import tensorflow as tf

    rows = tf.reshape(value, (-1, *row))
    if inputs is None:
        return rows
    one = tf.equal(tf.rank(value), len(row))
    count = tf.where(one, ops.shape(inputs)[0], tf.shape(rows)[0])
    return tf.ensure_shape(tf.broadcast_to(rows, (count, *row)), (None, *row))


def squeeze_column(values: Tensor) -> Tensor:
    """Returns values of shape `(batch, 1)` as `(batch,)`, and vectors and scalars unchanged."""
    return ops.squeeze(values, axis=-1) if len(values.shape) == 2 else values
