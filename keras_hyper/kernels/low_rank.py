"""A weight for each sample as a product of two thin matrices."""

import math
from typing import Any

from keras import ops

from keras_hyper.kernels.kernel import BatchedKernel, Full
from keras_hyper.ops import (
    channels_last,
    channels_to,
    conv_groups,
    per_sample_dense,
    per_sample_take,
)


class LowRank(BatchedKernel):
    r"""One weight for each sample: `W_b = U_b V_b`, with `rank` columns in `U_b`.

    A product with inputs of rank 2 is `(x_b U_b) V_b`, two thin products, and a
    lookup takes rows of `U_b` first. With many positions in a sample, and in
    convolutions, this is faster only where the kernel is `thin`: with a `rank`
    below `m n / (m + n)` for a kernel of `m` times `n`.

    Args:
        left: Tensor of shape `(batch, prod(shape[:-1]), rank)`.
        right: Tensor of shape `(batch, rank, shape[-1])`.
        shape: Tuple of integers, the shape of one weight.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import LowRank
        >>> kernel = LowRank(keras.ops.ones((4, 6, 2)), keras.ops.ones((4, 2, 3)), shape=(6, 3))
        >>> tuple(kernel.dense(keras.ops.ones((4, 6))).shape)
        (4, 3)
    """

    def __init__(self, left: Any, right: Any, shape: tuple[int, ...]) -> None:
        self._left = left
        self._right = right
        self._shape = tuple(shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return self._shape

    @property
    def thin(self) -> bool:
        """Whether both factors together are smaller than the weight."""
        rows, units = math.prod(self._shape[:-1]), self._shape[-1]
        return self._right.shape[1] * (rows + units) < rows * units

    def materialize(self) -> Any:
        """Returns the weights as one tensor `(batch, *shape)`."""
        return ops.reshape(self._left @ self._right, (ops.shape(self._left)[0], *self._shape))

    def scaled(self, factor: Any) -> "LowRank":
        """Returns the weight times a number."""
        return LowRank(self._left, self._right * factor, self._shape)

    def cast(self, dtype: str) -> "LowRank":
        """Returns the weight in another floating point type."""
        return LowRank(ops.cast(self._left, dtype), ops.cast(self._right, dtype), self._shape)

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs.

        Args:
            inputs: Tensor of shape `(batch, ..., in)`.
        """
        if len(inputs.shape) != 2 and not self.thin:
            return super().dense(inputs)
        return per_sample_dense(per_sample_dense(inputs, self._left), self._right)

    def conv(self, inputs: Any, **options: Any) -> Any:
        """Returns the convolution: `rank` channels first, and all filters from them."""
        data_format = options["data_format"]
        if not self.thin or conv_groups(inputs, self._shape, data_format) > 1:
            return super().conv(inputs, **options)
        shape = (ops.shape(self._left)[0], *self._shape[:-1], self._right.shape[1])
        left = Full(ops.reshape(self._left, shape), batched=True)
        outputs = channels_last(left.conv(inputs, **options), data_format)
        return channels_to(per_sample_dense(outputs, self._right), data_format)

    def lookup(self, ids: Any) -> Any:
        """Returns rows: those of the left factor, times the right one."""
        return per_sample_dense(per_sample_take(self._left, ids), self._right)
