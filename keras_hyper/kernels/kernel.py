"""What a generated weight is: a plain value with the products that use it."""

import abc
import copy
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Self, TypeAlias

from keras import ops

from keras_hyper.kernels.matrix import as_matrix, from_matrix
from keras_hyper.ops import per_sample_conv, per_sample_dense, per_sample_take, shared_dense
from keras_hyper.typing import Tensor

# A product of inputs and a weight as a tensor, which may have a batch axis.
Product: TypeAlias = Callable[[Tensor, Tensor, bool], Tensor]


class Kernel(abc.ABC):
    """A generated weight: a value, made in `call`, used, and dropped.

    It is neither a layer nor a variable. Subclasses differ in how the numbers are held, so that a
    product with inputs can be taken without writing the whole weight out where that is faster. They
    hold tensors and other kernels in attributes, and name two kinds of them.

    A kernel is *batched* if it holds one weight for each sample.

    Attributes:
        by_sample: The attributes with a row for each sample, if the kernel is batched.
        linear_in: The attributes that are multiplied to multiply the weight by a number.
    """

    by_sample: ClassVar[tuple[str, ...]]
    linear_in: ClassVar[tuple[str, ...]]

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return True

    @property
    def whole(self) -> bool:
        """Whether it is one weight for the batch, held as one tensor of its shape."""
        return False

    @property
    def thin(self) -> bool:
        """Whether every product takes fewer multiplications than one written out."""
        return False

    @property
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if it is not known."""
        value = getattr(self, self.by_sample[0])
        return value.rows if isinstance(value, Kernel) else known(value.shape[0])

    @abc.abstractmethod
    def materialize(self) -> Tensor:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""

    def scaled(self, factor: Tensor) -> Self:
        """Returns the weight times a number."""

        def scaled(value: Tensor) -> Tensor:
            return value.scaled(factor) if isinstance(value, Kernel) else value * factor

        return self._changed(scaled, self.linear_in)

    def weighted(self, factors: Tensor) -> "Kernel":
        """Returns the weights of a batched kernel, each times the number of its sample.

        Args:
            factors: Tensor of shape `(batch,)`.
        """

        def weighted(value: Tensor) -> Tensor:
            if isinstance(value, Kernel):
                return value.weighted(factors)
            return value * ops.reshape(factors, (-1, *(1 for _ in value.shape[1:])))

        return self._changed(weighted, self.linear_in)

    def cast(self, dtype: str) -> Self:
        """Returns the weight in another floating point type."""

        def cast(value: Tensor) -> Tensor:
            if isinstance(value, Kernel):
                return value.cast(dtype)
            return ops.cast(value, dtype) if hasattr(value, "dtype") else value

        return self._changed(cast, vars(self))

    def repeated(self, count: Tensor) -> Self:
        """Returns the weights of a batched kernel with each of them `count` times in a row."""

        def repeated(value: Tensor) -> Tensor:
            if isinstance(value, Kernel):
                return value.repeated(count)
            return ops.repeat(value, count, axis=0)

        return self._changed(repeated, self.by_sample)

    def _changed(self, change: Callable[[Tensor], Tensor], names: Iterable[str]) -> Self:
        """Returns a kernel with other values of some attributes."""
        other = copy.copy(self)
        for name in names:
            value = getattr(self, name)
            setattr(other, name, None if value is None else change(value))
        return other

    def factors(self) -> dict[str, Tensor]:
        """Returns what was generated, by name: the weight, or factors with fewer numbers.

        A stored weight that the generated one is added to, or scales, is no factor.
        """
        return {"value": self.materialize()}

    def tensors(self) -> list[Tensor]:
        """Returns the tensors that hold the weight, for `with_tensors`."""
        found: list[Tensor] = []
        for value in vars(self).values():
            if isinstance(value, Kernel):
                found.extend(value.tensors())
            elif ops.is_tensor(value):
                found.append(value)
        return found

    def with_tensors(self, tensors: Iterator[Tensor]) -> Self:
        """Returns a weight of the same form that other tensors hold.

        Args:
            tensors: Iterator over tensors in the order of `tensors()`.
        """

        def replaced(value: Tensor) -> Tensor:
            if isinstance(value, Kernel):
                return value.with_tensors(tensors)
            return next(tensors) if ops.is_tensor(value) else value

        return self._changed(replaced, vars(self))

    def times(self, base: Tensor) -> "Kernel":
        """Returns the weight times a tensor of its shape, number by number."""
        return Full(self.materialize() * base, self.batched)

    def apply(self, product: Product, inputs: Tensor, channel_axis: int = -1) -> Tensor:
        """Returns any product of the inputs that is linear in the weight.

        Args:
            product: Called with the inputs, a weight as a tensor, and whether it is batched.
            inputs: Tensor of shape `(batch, ...)`.
            channel_axis: Axis of the outputs that holds the units.
        """
        return product(inputs, self.materialize(), self.batched)

    def dense(self, inputs: Tensor) -> Tensor:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        return self.apply(_dense, inputs)

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        """Returns the convolution of the inputs with the weight.

        Args:
            inputs: Tensor of shape `(batch, *spatial, channels)`.
            **options: `strides`, `padding` (`"valid"` or `"same"`), `data_format` and
                `dilation_rate`, as `keras.ops.conv` takes them.
        """
        channel_axis = -1 if options["data_format"] == "channels_last" else 1
        return self.apply(functools.partial(_conv, **options), inputs, channel_axis)

    def lookup(self, ids: Tensor) -> Tensor:
        """Returns rows of a weight of two axes, of shape `(*ids.shape, dim)`."""
        return self.apply(_lookup, ids)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Kernel":
        """Returns the weight as a kernel of two axes, thin if the weight is thin that way.

        Args:
            rows: The axes of the weight that become the rows.
            columns: The other axes.
        """
        return Full(as_matrix(self.materialize(), rows, columns, self.batched), self.batched)

    def from_matrix(
        self, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
    ) -> "Kernel":
        """Returns the weight of which this kernel of two axes is the `matrix`.

        Args:
            shape: Shape of the weight.
            rows: Its axes that are the rows here.
            columns: The other axes.
        """
        return Full(from_matrix(self.materialize(), shape, rows, columns), self.batched)


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

    by_sample = ("_value",)
    linear_in = ("_value",)

    def __init__(self, value: Tensor, batched: bool) -> None:
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

    @property
    def whole(self) -> bool:
        """Whether it is one weight for the batch, held as one tensor of its shape."""
        return not self._batched

    def materialize(self) -> Tensor:
        """Returns the weight as one tensor."""
        return self._value


def known(length: object) -> int | None:
    """Returns the length of an axis, None if it is not known: JAX has symbols for it."""
    return length if isinstance(length, int) else None


def dense_of_one_position(kernel: Kernel, inputs: Tensor) -> Tensor | None:
    """Returns the product with inputs of one position in each sample, as with rank-2 inputs.

    Args:
        kernel: The weight.
        inputs: Tensor of shape `(batch, ..., in)`.

    Returns:
        The product, or None if the inputs are of rank 2, or have more positions.
    """
    batch, *positions, fan_in = ops.shape(inputs)
    if not positions or any(known(length) != 1 for length in positions):
        return None
    outputs = kernel.dense(ops.reshape(inputs, (batch, fan_in)))
    return ops.reshape(outputs, (batch, *positions, outputs.shape[-1]))


def _dense(inputs: Tensor, weight: Tensor, batched: bool) -> Tensor:
    return (per_sample_dense if batched else shared_dense)(inputs, weight)


def _conv(inputs: Tensor, weight: Tensor, batched: bool, **options: Tensor) -> Tensor:
    return (per_sample_conv if batched else ops.conv)(inputs, weight, **options)


def _lookup(ids: Tensor, weight: Tensor, batched: bool) -> Tensor:
    return per_sample_take(weight, ids) if batched else ops.take(weight, ids, axis=0)
