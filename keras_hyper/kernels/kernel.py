"""The base class of generated weights, and weights that are stored as one tensor."""

import abc
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Self, TypeAlias

from keras import ops

from keras_hyper.kernels.matrix import as_matrix, from_matrix
from keras_hyper.ops import per_sample_conv, per_sample_dense, per_sample_take, shared_dense
from keras_hyper.typing import Tensor

# A product of inputs with a weight, a tensor that may have a batch axis.
Product: TypeAlias = Callable[[Tensor, Tensor, bool], Tensor]


class Kernel(abc.ABC):
    """A generated weight: a value that `call` computes, uses and discards.

    A kernel is neither a layer nor a variable. Subclasses store the weight in different forms, in
    attributes that are tensors or other kernels. Where it is faster, they compute products with
    inputs without writing out the whole weight.

    Attributes:
        shape: Tuple of integers, the shape of one weight, without the batch axis.
        batched: Whether the kernel holds per-sample weights. Default: True.
        whole: Whether it is one weight for the batch, used as one tensor. Default: False.
        thin: Whether every product takes fewer multiplications than with the weight written out.
            Default: False.
        by_sample: Names of the attributes that have a batch axis if the kernel is batched.
        linear_in: Names of the attributes to scale in order to scale the weight.
    """

    shape: tuple[int, ...]
    batched: bool = True
    whole: bool = False
    thin: bool = False
    by_sample: ClassVar[tuple[str, ...]]
    linear_in: ClassVar[tuple[str, ...]]

    @property
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if unknown."""
        value = getattr(self, self.by_sample[0])
        return value.rows if isinstance(value, Kernel) else known(value.shape[0])

    @abc.abstractmethod
    def materialize(self) -> Tensor:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""

    def scaled(self, factor: Tensor) -> Self:
        """Returns the weight times a scalar."""
        return self._changed(self.linear_in, lambda k: k.scaled(factor), lambda x: x * factor)

    def weighted(self, factors: Tensor) -> "Kernel":
        """Returns per-sample weights times `factors`, a tensor of shape `(batch,)`."""

        def weighted(value: Tensor) -> Tensor:
            return value * ops.reshape(factors, (-1, *(1 for _ in value.shape[1:])))

        return self._changed(self.linear_in, lambda k: k.weighted(factors), weighted)

    def cast(self, dtype: str) -> Self:
        """Returns the weight in another floating point dtype."""

        def cast(value: Tensor) -> Tensor:
            return ops.cast(value, dtype) if hasattr(value, "dtype") else value

        return self._changed(vars(self), lambda k: k.cast(dtype), cast)

    def repeated(self, count: Tensor) -> Self:
        """Returns per-sample weights, each repeated `count` times in a row."""
        return self._changed(
            self.by_sample, lambda k: k.repeated(count), lambda x: ops.repeat(x, count, axis=0)
        )

    def _changed(
        self,
        names: Iterable[str],
        of_kernel: Callable[["Kernel"], "Kernel"],
        of_tensor: Callable[[Tensor], Tensor],
    ) -> Self:
        """Returns a copy, with functions applied to the named attributes that are not None."""
        other = copy.copy(self)
        for name in names:
            value = getattr(self, name)
            if value is not None:
                change = of_kernel if isinstance(value, Kernel) else of_tensor
                setattr(other, name, change(value))
        return other

    def factors(self) -> dict[str, Tensor]:
        """Returns a dict of the generated tensors: `"value"` for the weight, or smaller factors.

        The stored weight of a `Sum` or `Scaled` is not among them.
        """
        return {"value": self.materialize()}

    def tensors(self) -> list[Tensor]:
        """Returns all tensors that the kernel stores, for `with_tensors`."""
        found: list[Tensor] = []
        for value in vars(self).values():
            if isinstance(value, Kernel):
                found.extend(value.tensors())
            elif ops.is_tensor(value):
                found.append(value)
        return found

    def with_tensors(self, tensors: Iterator[Tensor]) -> Self:
        """Returns a kernel of the same form with different tensors, in the order of `tensors()`."""

        def replaced(value: Tensor) -> Tensor:
            return next(tensors) if ops.is_tensor(value) else value

        return self._changed(vars(self), lambda k: k.with_tensors(tensors), replaced)

    def times(self, base: Tensor) -> "Kernel":
        """Returns the elementwise product of the weight and a tensor of its shape."""
        return Full(self.materialize() * base, self.batched)

    def apply(self, product: Product, inputs: Tensor, channel_axis: int = -1) -> Tensor:
        """Returns any product of the inputs that is linear in the weight.

        Args:
            product: Function of the inputs, the weight as a tensor, and whether it is batched.
            inputs: Tensor of shape `(batch, ...)`.
            channel_axis: Axis of the units in the outputs.
        """
        return product(inputs, self.materialize(), self.batched)

    def dense(self, inputs: Tensor) -> Tensor:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        return self.apply(product_of(shared_dense, per_sample_dense), inputs)

    def _dense_at_positions(self, inputs: Tensor) -> Tensor:
        """Returns `dense` for inputs of rank 3 or more."""
        batch, *positions, fan_in = ops.shape(inputs)
        if any(known(length) != 1 for length in positions):
            # With several positions per sample, a product with the written-out weight is faster.
            return Kernel.dense(self, inputs)
        outputs = self.dense(ops.reshape(inputs, (batch, fan_in)))
        return ops.reshape(outputs, (batch, *positions, outputs.shape[-1]))

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        """Returns the convolution of the inputs with the weight.

        Args:
            inputs: Tensor of shape `(batch, *spatial, channels)`.
            **options: `strides`, `padding` (`"valid"` or `"same"`), `data_format` and
                `dilation_rate` of `keras.ops.conv`.
        """
        channel_axis = -1 if options["data_format"] == "channels_last" else 1
        return self.apply(product_of(ops.conv, per_sample_conv, **options), inputs, channel_axis)

    def lookup(self, ids: Tensor) -> Tensor:
        """Returns rows of a matrix, as a tensor of shape `(*ids.shape, dim)`."""
        return self.apply(_lookup, ids)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Kernel":
        """Returns the weight as a matrix of some axes by the others, in factors where possible."""
        return Full(as_matrix(self.materialize(), rows, columns, self.batched), self.batched)

    def from_matrix(
        self, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
    ) -> "Kernel":
        """Returns this matrix as a weight of a given shape: the inverse of `matrix`."""
        return Full(from_matrix(self.materialize(), shape, rows, columns), self.batched)


class Full(Kernel):
    """A weight that is stored as one tensor.

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
        self.shape = tuple(value.shape[1:] if batched else value.shape)
        self.batched = batched
        self.whole = not batched

    def materialize(self) -> Tensor:
        return self._value


def known(length: object) -> int | None:
    """Returns the length of an axis, None if unknown: JAX uses symbols for these."""
    return length if isinstance(length, int) else None


def product_of(
    shared: Callable[..., Tensor], per_sample: Callable[..., Tensor], **options: Tensor
) -> Product:
    """Returns a product from its functions for one weight and for per-sample weights."""

    def product(inputs: Tensor, weight: Tensor, batched: bool) -> Tensor:
        return (per_sample if batched else shared)(inputs, weight, **options)

    return product


def _lookup(ids: Tensor, weight: Tensor, batched: bool) -> Tensor:
    return per_sample_take(weight, ids) if batched else ops.take(weight, ids, axis=0)
