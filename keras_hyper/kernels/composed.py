"""A weight for each sample that is made of a stored weight and a generated one."""

import math
from collections.abc import Sequence

from keras import ops

from keras_hyper.kernels.kernel import Full, Kernel, Product, dense_of_one_position
from keras_hyper.kernels.matrix import as_matrix
from keras_hyper.ops import conv_groups
from keras_hyper.typing import Tensor


class Sum(Kernel):
    r"""A stored weight plus a generated one: `W_0 + D`, or `W_0 + D_b` for each sample.

    A product with inputs of one position, a lookup, and every product with a thin `D_b`, add the
    two results, so that a `D_b` in factored form stays so. Elsewhere the sum is written out: one
    product with it costs half of two. So is the sum with one weight for the batch that is not thin.

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

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return self._delta.shape

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return self._delta.batched

    @property
    def whole(self) -> bool:
        """Whether the sum is one weight for the batch that every product writes out."""
        return not self.batched and not self._delta.thin

    def materialize(self) -> Tensor:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""
        return self._base.materialize() + self._delta.materialize()

    def weighted(self, factors: Tensor) -> Kernel:
        """Returns the weights of a batched kernel, each times the number of its sample."""
        return Full(self.materialize(), self.batched).weighted(factors)

    def factors(self) -> dict[str, Tensor]:
        """Returns the factors of what is added."""
        return self._delta.factors()

    def dense(self, inputs: Tensor) -> Tensor:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        if self.whole:
            return super().dense(inputs)
        if len(inputs.shape) != 2 and not self._delta.thin:
            outputs = dense_of_one_position(self, inputs) if self.batched else None
            return super().dense(inputs) if outputs is None else outputs
        return self._base.dense(inputs) + self._delta.dense(inputs)

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        """Returns the convolution of the inputs with the weight."""
        if not self._delta.thin or conv_groups(inputs, self.shape, options["data_format"]) > 1:
            return super().conv(inputs, **options)
        return self._base.conv(inputs, **options) + self._delta.conv(inputs, **options)

    def lookup(self, ids: Tensor) -> Tensor:
        """Returns rows of a weight of two axes."""
        if self.whole:
            return super().lookup(ids)
        return self._base.lookup(ids) + self._delta.lookup(ids)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Sum":
        """Returns the weight as a kernel of two axes."""
        base = self._base.matrix(rows, columns).materialize()
        return Sum(base, self._delta.matrix(rows, columns))


class Scaled(Kernel):
    r"""A stored weight with every unit scaled: `W_0 d`, or `W_0 d_b` for each sample.

    Whatever the product, its outputs with `W_0` are multiplied by `d`: no weight is written out. It
    is the weight-scaling vector of Ha, Dai & Le ("HyperNetworks", ICLR 2017, equation 11), whose
    matrices have their units in rows.

    Args:
        base: Tensor of shape `shape`.
        factors: Tensor of shape `(batch, *ones)` or `ones`, with 1 for every axis of the weight but
            those of the units.
        unit_axes: The axes of the weight that number its units.

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

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return self._base.shape

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return len(self._factors.shape) > len(self._base.shape)

    def materialize(self) -> Tensor:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""
        return self._base.materialize() * self._factors

    def factors(self) -> dict[str, Tensor]:
        """Returns the scales of the units."""
        return {"scale": self._factors}

    def apply(self, product: Product, inputs: Tensor, channel_axis: int = -1) -> Tensor:
        """Returns the product with the shared weight, scaled."""
        outputs = self._base.apply(product, inputs, channel_axis)
        shape: list[Tensor] = [1] * len(outputs.shape)
        shape[channel_axis] = math.prod(self.shape[axis] for axis in self._unit_axes)
        if self.batched:
            # With the batch size of the inputs, so that no batch of one is broadcast.
            shape[0] = ops.shape(inputs)[0]
        return outputs * ops.reshape(self._factors, shape)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> Kernel:
        """Returns the weight as a kernel of two axes, scaled if its columns are the units."""
        rank = len(self.shape)
        if {axis % rank for axis in self._unit_axes} != set(columns):
            return super().matrix(rows, columns)
        factors = as_matrix(self._factors, rows, columns, self.batched)
        return Scaled(self._base.matrix(rows, columns).materialize(), factors)
