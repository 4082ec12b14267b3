"""Values with a row for each sample, where a TensorFlow graph leaves their shapes open."""

import keras
from keras import ops

from keras_hyper.typing import Shape, Tensor


def same_batch(condition: Tensor, inputs: Tensor, rank: int = 1) -> Tensor:
    """Returns a condition with rows. It raises at run time if the inputs have a different batch.

    Batch sizes that are known are compared before. In a TensorFlow graph they may be
    unknown, and a condition of one row would be broadcast in some products.

    Args:
        condition: Tensor of shape `(batch, dim)`, or `(dim,)`, which fits any inputs.
        inputs: Tensor of shape `(batch, ...)`.
        rank: Rank of one condition.

    Returns:
        The condition.
    """
    unknown = len(condition.shape) > rank and None in (condition.shape[0], inputs.shape[0])
    symbolic = any(isinstance(x, keras.KerasTensor) for x in (condition, inputs))
    if not unknown or symbolic or keras.backend.backend() != "tensorflow":
        return condition
    import tensorflow as tf

    rows, batch = ops.shape(condition)[0], ops.shape(inputs)[0]
    message = (
        "`condition` must have one row for each sample, or the shape (dim,). Rows of `condition` "
        "and samples:"
    )
    same = tf.debugging.Assert(tf.equal(rows, batch), [message, rows, batch])
    with tf.control_dependencies([same]):
        # XLA leaves the assertion out, but does not compile this for other sizes.
        return ops.reshape(condition, (batch, *condition.shape[1:]))


def with_known_rank(value: Tensor, row: Shape, inputs: Tensor = None) -> Tensor:
    """Returns a value of unknown rank as rows.

    After calls with values of two ranks, such as `(batch,)` and `(batch, 1)`, Keras
    traces a TensorFlow graph for a value of any rank.

    Args:
        value: Tensor.
        row: Shape of the value for one sample.
        inputs: Optional tensor of shape `(batch, ...)`. One value without a batch axis
            is repeated for its samples; without it, the value becomes one row.

    Returns:
        The value if its rank is known, otherwise a tensor of shape `(batch, *row)`.
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
