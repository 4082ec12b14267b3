"""A weight for each sample that is made of a stored weight and a generated one."""

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_hyper.kernels.kernel import Full, Kernel, as_matrix, dense_of_one_position, known
from keras_hyper.ops import conv_groups, shared_dense


class Sum(Kernel):
    r"""A stored weight plus a generated one: `W_0 + D`, or `W_0 + D_b` for each sample.

    A product with inputs of one position, a lookup, and every product with a thin
    `D_b`, add the two results, so that a `D_b` in factored form stays so.
    Elsewhere the sum is written out: one product with it costs half of two. So is the sum with
    one weight for the batch that is not thin.

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

    def __init__(self, base: Any, delta: Kernel) -> None:
        self._base = base
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
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if it is not known."""
        return self._delta.rows

    @property
    def whole(self) -> bool:
        """Whether the sum is one weight for the batch that every product writes out."""
        return not self.batched and not self._delta.thin

    def materialize(self) -> Any:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""
        return self._base + self._delta.materialize()

    def factors(self) -> dict[str, Any]:
        """Returns the factors of what is added."""
        return self._delta.factors()

    def scaled(self, factor: Any) -> "Sum":
        """Returns the weight times a number."""
        return Sum(self._base * factor, self._delta.scaled(factor))

    def repeated(self, count: Any) -> "Sum":
        """Returns the weights with each of them `count` times."""
        return Sum(self._base, self._delta.repeated(count))

    def cast(self, dtype: str) -> "Sum":
        """Returns the weight in another floating point type."""
        return Sum(ops.cast(self._base, dtype), self._delta.cast(dtype))

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        if self.whole:
            return super().dense(inputs)
        if len(inputs.shape) != 2 and not self._delta.thin:
            outputs = dense_of_one_position(self, inputs) if self.batched else None
            return super().dense(inputs) if outputs is None else outputs
        return shared_dense(inputs, self._base) + self._delta.dense(inputs)

    def conv(self, inputs: Any, **options: Any) -> Any:
        """Returns the convolution of the inputs with the weight."""
        if not self._delta.thin or conv_groups(inputs, self.shape, options["data_format"]) > 1:
            return super().conv(inputs, **options)
        base = Full(self._base, batched=False)
        return base.conv(inputs, **options) + self._delta.conv(inputs, **options)

    def lookup(self, ids: Any) -> Any:
        """Returns rows of a weight of two axes."""
        if self.whole:
            return super().lookup(ids)
        return ops.take(self._base, ids, axis=0) + self._delta.lookup(ids)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Sum":
        """Returns the weight as a kernel of two axes."""
        return Sum(as_matrix(self._base, rows, columns), self._delta.matrix(rows, columns))


class Scaled(Kernel):
    r"""A stored weight with every unit scaled: `W_0 d`, or `W_0 d_b` for each sample.

    Whatever the product, its outputs with `W_0` are multiplied by `d`: no
    weight is written out. It is the weight-scaling vector of Ha, Dai & Le
    ("HyperNetworks", ICLR 2017, equation 11), whose matrices have their units
    in rows.

    Args:
        base: Tensor of shape `shape`.
        factors: Tensor of shape `(batch, *ones)` or `ones`, with 1 for every axis of
            the weight but those of the units.
        unit_axes: The axes of the weight that number its units.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import Scaled
        >>> kernel = Scaled(keras.ops.ones((2, 3)), 2 * keras.ops.ones((4, 1, 3)))
        >>> float(kernel.dense(keras.ops.ones((4, 2)))[0, 0])
        4.0
    """

    def __init__(self, base: Any, factors: Any, unit_axes: Sequence[int] = (-1,)) -> None:
        self._base = base
        self._factors = factors
        self._unit_axes = tuple(unit_axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return tuple(self._base.shape)

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return len(self._factors.shape) > len(self._base.shape)

    @property
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if it is not known."""
        return known(self._factors.shape[0])

    def materialize(self) -> Any:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""
        return self._base * self._factors

    def factors(self) -> dict[str, Any]:
        """Returns the scales of the units."""
        return {"scale": self._factors}

    def scaled(self, factor: Any) -> "Scaled":
        """Returns the weight times a number."""
        return Scaled(self._base, self._factors * factor, self._unit_axes)

    def repeated(self, count: Any) -> "Scaled":
        """Returns the weights with each of them `count` times."""
        return Scaled(self._base, ops.repeat(self._factors, count, axis=0), self._unit_axes)

    def cast(self, dtype: str) -> "Scaled":
        """Returns the weight in another floating point type."""
        return Scaled(ops.cast(self._base, dtype), ops.cast(self._factors, dtype), self._unit_axes)

    def apply(
        self, product: Callable[[Any, Any, bool], Any], inputs: Any, channel_axis: int = -1
    ) -> Any:
        """Returns the product with the shared weight, scaled."""
        outputs = Full(self._base, batched=False).apply(product, inputs, channel_axis)
        units = 1
        for axis in self._unit_axes:
            units *= self.shape[axis]
        shape: list[Any] = [1] * len(outputs.shape)
        shape[channel_axis] = units
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
        return Scaled(as_matrix(self._base, rows, columns), factors)
