"""Regularization penalties of generated weights."""

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor


def penalty(weight: keras.layers.Layer, kernel: Kernel) -> Tensor:
    """Returns the penalty of a `GeneratedWeight` with a value, as a mean over per-sample values."""
    value = ops.cast(kernel.materialize(), weight.variable_dtype)
    if not kernel.batched:
        return weight.regularizer(value)
    count = ops.shape(value)[0]
    if isinstance(count, int) and count == 0:
        return 0 * ops.sum(value)  # PyTorch cannot map over empty batches.
    penalties = ops.vectorized_map(weight.regularizer, value)
    return ops.sum(penalties) / ops.cast(ops.maximum(count, 1), penalties.dtype)


class PenaltyOfWeight(keras.regularizers.Regularizer):
    """Regularizer of an embedding that penalizes the static `GeneratedWeight` made from it.

    Keras counts the penalty of a variable once, however often the layer is called.
    """

    def __init__(self, weight: keras.layers.Layer) -> None:
        self._weight = weight

    def __call__(self, embedding: Tensor) -> Tensor:
        """Returns the penalty of the weight."""
        return penalty(self._weight, self._weight.kernel())
