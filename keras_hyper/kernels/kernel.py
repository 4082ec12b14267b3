"""What a generated weight is: a plain value with the products that use it."""

import abc
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_hyper.ops import per_sample_conv, per_sample_dense


class Kernel(abc.ABC):
    """A generated weight: a value, made in `call`, used, and dropped.

    It is neither a layer nor a variable. Subclasses differ in how the numbers
    are held, so that a product with inputs can be taken without writing the
    whole weight out where that is faster.

    A kernel is *batched* if it holds one weight for each sample.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""

    @property
    @abc.abstractmethod
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""

    @abc.abstractmethod
    def materialize(self) -> Any:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""

    @abc.abstractmethod
    def scaled(self, factor: float) -> "Kernel":
        """Returns the weight times a number."""

    @abc.abstractmethod
    def cast(self, dtype: str) -> "Kernel":
        """Returns the weight in another floating point type."""

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs.

        Args:
            inputs: Tensor of shape `(batch, ..., in)`.

        Returns:
            Tensor of shape `(batch, ..., out)`.
        """
        weight = self.materialize()
        return per_sample_dense(inputs, weight) if self.batched else ops.matmul(inputs, weight)

    def conv(
        self,
        inputs: Any,
        strides: Sequence[int],
        padding: str,
        data_format: str,
        dilation_rate: Sequence[int],
    ) -> Any:
        """Returns the convolution of the inputs with the weight.

        Args:
            inputs: Tensor of shape `(batch, *spatial, channels)`.
            strides: One integer for each spatial axis.
            padding: `"valid"` or `"same"`.
            data_format: `"channels_last"` or `"channels_first"`.
            dilation_rate: One integer for each spatial axis.

        Returns:
            Tensor of shape `(batch, *new_spatial, filters)`.
        """
        convolve = per_sample_conv if self.batched else ops.conv
        return convolve(
            inputs,
            self.materialize(),
            strides=list(strides),
            padding=padding,
            data_format=data_format,
            dilation_rate=list(dilation_rate),
        )


class Full(Kernel):
    """A weight that is written out in full.

    Args:
        value: Tensor of shape `shape`, or `(batch, *shape)` if `batched`.
        batched: Whether the first axis is the batch.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import Full
        >>> kernel = Full(keras.ops.ones((2, 3)), batched=False)
        >>> kernel.dense(keras.ops.ones((1, 2))).shape[1]
        3
    """

    def __init__(self, value: Any, batched: bool) -> None:
        self._value = value
        self._batched = batched

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return tuple(self._value.shape[1:] if self._batched else self._value.shape)

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return self._batched

    def materialize(self) -> Any:
        """Returns the weight as one tensor."""
        return self._value

    def scaled(self, factor: float) -> "Full":
        """Returns the weight times a number."""
        return Full(self._value * factor, self._batched)

    def cast(self, dtype: str) -> "Full":
        """Returns the weight in another floating point type."""
        return Full(ops.cast(self._value, dtype), self._batched)
