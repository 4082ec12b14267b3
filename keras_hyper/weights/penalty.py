"""The penalty of a regularizer on a generated weight."""

from collections.abc import Callable

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor


def penalty(regularizer: Callable[[Tensor], Tensor], kernel: Kernel, dtype: str) -> Tensor:
    """Returns the penalty of a weight, or its mean over per-sample weights.

    Args:
        regularizer: Keras regularizer.
        kernel: The weight.
        dtype: Dtype of the penalty: that of the variables, as for a variable.
    """
    weight = ops.cast(kernel.materialize(), dtype)
    if not kernel.batched:
        return regularizer(weight)
    count = ops.shape(weight)[0]
    if isinstance(count, int) and count == 0:
        return 0 * ops.sum(weight)  # PyTorch cannot map over no samples.
    penalties = ops.vectorized_map(regularizer, weight)
    return ops.sum(penalties) / ops.cast(ops.maximum(count, 1), penalties.dtype)


class PenaltyOfWeight(keras.regularizers.Regularizer):
    """A regularizer of an embedding that penalizes the weight generated from it.

    A penalty of a variable counts once, however often, and wherever, the layer is called.

    Args:
        make: Function that returns the penalty.
    """

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self._make = make

    def __call__(self, embedding: Tensor) -> Tensor:
        """Returns the penalty of the weight."""
        return self._make()
