"""A weight for each sample as a linear combination of shared weights."""

import math
from collections.abc import Sequence

from keras import ops

from keras_hyper.kernels.kernel import Kernel, dense_of_one_position
from keras_hyper.kernels.matrix import as_matrix
from keras_hyper.typing import Tensor


class Mixture(Kernel):
    r"""One weight for each sample: `W_b = sum_k a_bk M_k + M_0`.

    The weights `M_k` are shared by the batch, the coefficients `a` belong to the sample. What a
    linear generator, or one of templates, makes of a batch of embeddings has this form. Then
    `x_b W_b = sum_k a_bk (x_b M_k) + x_b M_0`, so that a product with inputs of rank 2 needs one
    weight for each `k` in memory and none for each sample. The same goes for looking up a few rows.

    Args:
        bank: Tensor of shape `(k, *shape)`.
        coefficients: Tensor of shape `(batch, k)`.
        bias: None, or a tensor of shape `shape`.

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

    by_sample = ("_coefficients",)
    linear_in = ("_coefficients", "_bias")

    def __init__(self, bank: Tensor, coefficients: Tensor, bias: Tensor = None) -> None:
        self._bank = bank
        self._coefficients = coefficients
        self._bias = bias

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return tuple(self._bank.shape[1:])

    def materialize(self) -> Tensor:
        """Returns the weights as one tensor `(batch, *shape)`."""
        batch, k = ops.shape(self._coefficients)
        weights = self._coefficients @ ops.reshape(self._bank, (k, -1))
        weights = ops.reshape(weights, (batch, *self.shape))
        return weights if self._bias is None else weights + self._bias

    def weighted(self, factors: Tensor) -> "Mixture":
        """Returns the weights, each times the number of its sample."""
        bank, coefficients = self._bank, self._coefficients
        if self._bias is not None:  # It differs between samples now.
            bank = ops.concatenate([bank, ops.expand_dims(self._bias, 0)])
            coefficients = ops.pad(coefficients, ((0, 0), (0, 1)), constant_values=1)
        return Mixture(bank, coefficients * ops.reshape(factors, (-1, 1)))

    def times(self, base: Tensor) -> "Mixture":
        """Returns the weight times a tensor of its shape: still a mixture."""
        bias = None if self._bias is None else self._bias * base
        return Mixture(self._bank * base, self._coefficients, bias)

    def dense(self, inputs: Tensor) -> Tensor:
        """Returns `inputs @ weight`, over the last axis of the inputs.

        All three ways take the same multiplications, so the one with the smallest intermediate
        result is taken: `(batch, k, in)`, `(batch, k, out)` or `(batch, in, out)`. With several
        positions per sample the written-out weight is used once for each, and wins.
        """
        fan_in, fan_out = self.shape
        k = self._bank.shape[0]
        if k >= max(fan_in, fan_out):
            return super().dense(inputs)
        if len(inputs.shape) != 2:
            outputs = dense_of_one_position(self, inputs)
            return super().dense(inputs) if outputs is None else outputs
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
        return outputs if self._bias is None else outputs + inputs @ self._bias

    def lookup(self, ids: Tensor) -> Tensor:
        """Returns rows: those of the shared weights, mixed for each sample.

        As long as they are no more than the rows of a weight. With more positions (or an unknown
        number) the weights are smaller, written out.
        """
        k = self._bank.shape[0]
        if None in ids.shape[1:] or k * math.prod(ids.shape[1:]) > self.shape[0]:
            return super().lookup(ids)
        batch, *positions = ops.shape(ids)
        ones = (1,) * len(positions)
        parts = ops.take(ops.transpose(self._bank, (1, 0, 2)), ids, axis=0)
        rows = ops.sum(ops.reshape(self._coefficients, (batch, *ones, k, 1)) * parts, axis=-2)
        return rows if self._bias is None else rows + ops.take(self._bias, ids, axis=0)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Mixture":
        """Returns the weight as a kernel of two axes: still a mixture."""
        bias = None if self._bias is None else as_matrix(self._bias, rows, columns)
        bank = as_matrix(self._bank, rows, columns, batched=True)
        return Mixture(bank, self._coefficients, bias)
