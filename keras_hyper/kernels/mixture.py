"""A weight for each sample as a linear combination of shared weights."""

from typing import Any

from keras import ops

from keras_hyper.kernels.kernel import Kernel


class Mixture(Kernel):
    r"""One weight for each sample: `W_b = sum_k a_bk M_k + M_0`.

    The weights `M_k` are shared by the batch, the coefficients `a` belong to
    the sample. What a linear generator makes of a batch of embeddings has this
    form. Then `x_b W_b = sum_k a_bk (x_b M_k) + x_b M_0`, so that a product with
    inputs of rank 2 needs one weight for each `k` in memory and none for each
    sample.

    Args:
        bank: Tensor of shape `(k, *shape)`.
        coefficients: Tensor of shape `(batch, k)`.
        bias: Tensor of shape `shape`.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import Mixture
        >>> kernel = Mixture(
        ...     bank=keras.ops.ones((5, 2, 3)),
        ...     coefficients=keras.ops.ones((4, 5)),
        ...     bias=keras.ops.zeros((2, 3)),
        ... )
        >>> tuple(kernel.materialize().shape)
        (4, 2, 3)
    """

    def __init__(self, bank: Any, coefficients: Any, bias: Any) -> None:
        self._bank = bank
        self._coefficients = coefficients
        self._bias = bias

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return tuple(self._bias.shape)

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample: always."""
        return True

    def materialize(self) -> Any:
        """Returns the weights as one tensor `(batch, *shape)`."""
        batch, k = ops.shape(self._coefficients)
        weights = self._coefficients @ ops.reshape(self._bank, (k, -1))
        return ops.reshape(weights, (batch, *self.shape)) + self._bias

    def scaled(self, factor: float) -> "Mixture":
        """Returns the weight times a number."""
        return Mixture(self._bank, self._coefficients * factor, self._bias * factor)

    def cast(self, dtype: str) -> "Mixture":
        """Returns the weight in another floating point type."""
        parts = (self._bank, self._coefficients, self._bias)
        return Mixture(*(ops.cast(part, dtype) for part in parts))

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs.

        All three ways take the same multiplications, so the one with the
        smallest intermediate result is taken: `(batch, k, in)`,
        `(batch, k, out)` or `(batch, in, out)`. With several positions per
        sample the written-out weight is used once for each, and wins.
        """
        fan_in, fan_out = self.shape
        k = self._bank.shape[0]
        if len(inputs.shape) != 2 or k >= max(fan_in, fan_out):
            return super().dense(inputs)
        # With the batch size of the inputs, as in `per_sample_dense`.
        batch = ops.shape(inputs)[0]
        coefficients = ops.reshape(self._coefficients, (batch, k, 1))
        if fan_in <= fan_out:
            weighted = coefficients * ops.expand_dims(inputs, 1)
            weighted = ops.reshape(weighted, (batch, k * fan_in))
            outputs = weighted @ ops.reshape(self._bank, (k * fan_in, fan_out))
        else:
            bank = ops.reshape(ops.transpose(self._bank, (1, 0, 2)), (fan_in, k * fan_out))
            parts = ops.reshape(inputs @ bank, (batch, k, fan_out))
            outputs = ops.sum(coefficients * parts, axis=1)
        return outputs + inputs @ self._bias
