"""Per-sample weights that are linear combinations of shared weights."""

import math
from collections.abc import Sequence

from keras import ops

from keras_hyper.kernels.kernel import Kernel
from keras_hyper.kernels.matrix import as_matrix
from keras_hyper.typing import Tensor


class Mixture(Kernel):
    r"""Per-sample weights `W_b = sum_k a_bk M_k + M_0`.

    The batch shares the weights `M_k`, and each sample has its coefficients `a_b`. Linear
    generators and template generators return this form for a batch of embeddings. A product with
    inputs of rank 2 is `x_b W_b = sum_k a_bk (x_b M_k) + x_b M_0`. It needs memory for one weight
    per `k`, but for no per-sample weights. The same holds for the lookup of a few rows.

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
        self.shape = tuple(bank.shape[1:])

    def materialize(self) -> Tensor:
        batch, k = ops.shape(self._coefficients)
        weights = self._coefficients @ ops.reshape(self._bank, (k, -1))
        weights = ops.reshape(weights, (batch, *self.shape))
        return weights if self._bias is None else weights + self._bias

    def weighted(self, factors: Tensor) -> "Mixture":
        bank, coefficients = self._bank, self._coefficients
        if self._bias is not None:
            # The scaled bias differs between samples: it joins the bank, with coefficient 1.
            bank = ops.concatenate([bank, ops.expand_dims(self._bias, 0)])
            coefficients = ops.pad(coefficients, ((0, 0), (0, 1)), constant_values=1)
        return Mixture(bank, coefficients * ops.reshape(factors, (-1, 1)))

    def times(self, base: Tensor) -> "Mixture":
        bias = None if self._bias is None else self._bias * base
        return Mixture(self._bank * base, self._coefficients, bias)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Mixture":
        bias = None if self._bias is None else as_matrix(self._bias, rows, columns)
        bank = as_matrix(self._bank, rows, columns, batched=True)
        return Mixture(bank, self._coefficients, bias)

    def dense(self, inputs: Tensor) -> Tensor:
        # Of three ways with equally many multiplications, the one with the smallest intermediate
        # result: (batch, k, in), (batch, k, out) or, written out, (batch, in, out). The last one
        # is also the fastest with several positions per sample.
        fan_in, fan_out = self.shape
        k = self._bank.shape[0]
        if k >= max(fan_in, fan_out):
            return super().dense(inputs)
        if len(inputs.shape) != 2:
            return self._dense_at_positions(inputs)
        # The batch size of the inputs: coefficients of a batch of one must not broadcast.
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
        # With more ids per sample, or an unknown number, the written-out weights are smaller.
        k = self._bank.shape[0]
        if None in ids.shape[1:] or k * math.prod(ids.shape[1:]) > self.shape[0]:
            return super().lookup(ids)
        batch, *positions = ops.shape(ids)
        ones = (1,) * len(positions)
        parts = ops.take(ops.transpose(self._bank, (1, 0, 2)), ids, axis=0)
        rows = ops.sum(ops.reshape(self._coefficients, (batch, *ones, k, 1)) * parts, axis=-2)
        return rows if self._bias is None else rows + ops.take(self._bias, ids, axis=0)
