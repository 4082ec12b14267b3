"""Regularization penalties of generated weights."""

from collections.abc import Callable

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor


def penalty(regularizer: Callable[[Tensor], Tensor], kernel: Kernel, dtype: str) -> Tensor:
    """Returns the penalty of a weight, or its mean over per-sample weights."""
    weight = ops.cast(kernel.materialize(), dtype)
    if not kernel.batched:
        return regularizer(weight)
    count = ops.shape(weight)[0]
    if isinstance(count, int) and count == 0:
        return 0 * ops.sum(weight)  # PyTorch cannot map over empty batches.
    penalties = ops.vectorized_map(regularizer, weight)
    return ops.sum(penalties) / ops.cast(ops.maximum(count, 1), penalties.dtype)


class PenaltyOfWeight(keras.regularizers.Regularizer):
    """Regularizer of an embedding that penalizes the static `GeneratedWeight` made from it.

    Keras counts the penalty of a variable once, however often the layer is called.
    """

    def __init__(self, weight: keras.layers.Layer) -> None:
        self._weight = weight

    def __call__(self, embedding: Tensor) -> Tensor:
        """Returns the penalty of the weight."""
        weight = self._weight
        return penalty(weight.regularizer, weight.kernel(), weight.variable_dtype)
