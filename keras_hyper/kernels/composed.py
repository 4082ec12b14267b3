"""Weights that consist of a stored part and a generated part."""

import math
from collections.abc import Sequence

from keras import ops

from keras_hyper.kernels.kernel import Full, Kernel, Product
from keras_hyper.kernels.matrix import as_matrix
from keras_hyper.ops import conv_groups
from keras_hyper.typing import Tensor


class Sum(Kernel):
    r"""A stored weight plus a generated one: `W_0 + D`, or `W_0 + D_b` for each sample.

    Products with a thin `D_b`, lookups, and products with one position per sample add two results:
    one with `W_0` and one with `D_b`. Other products write out the sum, because one product is
    cheaper than two. So does every product of an unbatched `D` that is not thin.

    Args:
        base: Tensor of shape `shape`.
        delta: `Kernel` of the same shape.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import Full, Sum
        >>> kernel = Sum(keras.ops.ones((2, 3)), Full(keras.ops.ones((4, 2, 3)), batched=True))
        >>> float(kernel.dense(keras.ops.ones((4, 2)))[0, 0])
        4.0
    """

    by_sample = ("_delta",)
    linear_in = ("_base", "_delta")

    def __init__(self, base: Tensor, delta: Kernel) -> None:
        self._base = Full(base, batched=False)
        self._delta = delta
        self.shape, self.batched = delta.shape, delta.batched
        self.whole = not (delta.batched or delta.thin)

    def materialize(self) -> Tensor:
        return self._base.materialize() + self._delta.materialize()

    def weighted(self, factors: Tensor) -> Kernel:
        return Full(self.materialize(), self.batched).weighted(factors)

    def factors(self) -> dict[str, Tensor]:
        return self._delta.factors()

    def dense(self, inputs: Tensor) -> Tensor:
        if self.whole:
            return super().dense(inputs)
        if len(inputs.shape) != 2 and not self._delta.thin:
            return self._dense_at_positions(inputs)
        return self._base.dense(inputs) + self._delta.dense(inputs)

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        if not self._delta.thin or conv_groups(inputs, self.shape, options["data_format"]) > 1:
            return super().conv(inputs, **options)
        return self._base.conv(inputs, **options) + self._delta.conv(inputs, **options)

    def lookup(self, ids: Tensor) -> Tensor:
        if self.whole:
            return super().lookup(ids)
        return self._base.lookup(ids) + self._delta.lookup(ids)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Sum":
        base = self._base.matrix(rows, columns).materialize()
        return Sum(base, self._delta.matrix(rows, columns))


class Scaled(Kernel):
    r"""A stored weight with scaled units: `W_0 d`, or `W_0 d_b` for each sample.

    Every product with `W_0` multiplies its outputs by `d`, so no scaled weight is written out. This
    is the weight-scaling vector of Ha, Dai & Le ("HyperNetworks", ICLR 2017, equation 11), whose
    matrices have their units in rows.

    Args:
        base: Tensor of shape `shape`.
        factors: Tensor of shape `(batch, *ones)` or `ones`, where `ones` is `shape` with 1 for each
            axis that is not in `unit_axes`.
        unit_axes: Axes of the weight that number its units.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import Scaled
        >>> kernel = Scaled(keras.ops.ones((2, 3)), 2 * keras.ops.ones((4, 1, 3)))
        >>> float(kernel.dense(keras.ops.ones((4, 2)))[0, 0])
        4.0
    """

    by_sample = ("_factors",)
    linear_in = ("_factors",)

    def __init__(self, base: Tensor, factors: Tensor, unit_axes: Sequence[int] = (-1,)) -> None:
        self._base = Full(base, batched=False)
        self._factors = factors
        self._unit_axes = tuple(unit_axes)
        self.shape = self._base.shape
        self.batched = len(factors.shape) > len(self.shape)

    def materialize(self) -> Tensor:
        return self._base.materialize() * self._factors

    def factors(self) -> dict[str, Tensor]:
        return {"scale": self._factors}

    def apply(self, product: Product, inputs: Tensor, channel_axis: int = -1) -> Tensor:
        outputs = self._base.apply(product, inputs, channel_axis)
        shape: list[Tensor] = [1] * len(outputs.shape)
        shape[channel_axis] = math.prod(self.shape[axis] for axis in self._unit_axes)
        if self.batched:
            # The batch size of the inputs: factors of a batch of one must not broadcast.
            shape[0] = ops.shape(inputs)[0]
        return outputs * ops.reshape(self._factors, shape)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> Kernel:
        # Columns of the matrix can be scaled only if they are the units.
        if {axis % len(self.shape) for axis in self._unit_axes} != set(columns):
            return super().matrix(rows, columns)
        factors = as_matrix(self._factors, rows, columns, self.batched)
        return Scaled(self._base.matrix(rows, columns).materialize(), factors)
