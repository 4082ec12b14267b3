"""Recurrent dropout on the candidate, fresh at every step.

Semeniuta, Severyn & Barth, "Recurrent Dropout without Memory Loss", 2016: what is
dropped is the update of the memory, never the memory itself. Keras's argument
`recurrent_dropout` drops numbers of the hidden state, the same at every step.
"""

import keras
from keras import ops

from keras_hyper.typing import Shape, Tensor


def drop_in_this_step(
    cell: keras.Layer, rate: float, width: int, state: Tensor, training: bool | None
) -> Tensor:
    """Returns what a bare cell multiplies a candidate by: a mask in training, or None.

    Args:
        cell: The cell.
        rate: Fraction of the candidate that is dropped.
        width: Width of the candidate.
        state: Any tensor of shape `(batch, ...)` and of the type of the candidate.
        training: Whether to drop.

    Raises:
        NotImplementedError: On JAX, whose loops cannot advance a random state.
    """
    if not training or rate == 0:
        return None
    if keras.backend.backend() == "jax":
        raise NotImplementedError(
            f"{type(cell).__name__} cannot draw a fresh dropout mask at every step on JAX, whose "
            "loops are pure functions, and cannot know whether it is in one. "
            f"Use the layer `keras_hyper.{type(cell).__name__.removesuffix('Cell')}`, which draws "
            "the masks of all steps before the loop, or a dropout rate of 0."
        )
    shape = (ops.shape(state)[0], width)
    return dropout_mask(shape, state.dtype, rate, cell.seed_generator)


def dropout_mask(shape: Shape, dtype: str, rate: float, seed: keras.random.SeedGenerator) -> Tensor:
    """Returns zeros, at a rate, and `1 / (1 - rate)`."""
    if keras.backend.backend() != "tensorflow":
        return keras.random.dropout(ops.ones(shape, dtype=dtype), rate, seed=seed)
    import tensorflow as tf

    # TensorFlow derives a key from a seed by default, and XLA may derive it again for each number,
    # which takes a hundred times as long on a CPU. It does not with an algorithm that is named.
    seeds = tf.cast(seed.next() % tf.int32.max, "int32")
    drawn = tf.random.stateless_uniform(shape, seeds, alg="philox")
    return tf.where(drawn < rate, tf.zeros((), dtype), tf.cast(1 / (1 - rate), dtype))
