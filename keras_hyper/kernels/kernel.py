"""What a generated weight is: a plain value with the products that use it."""

import abc
import copy
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras import ops

from keras_hyper.ops import per_sample_conv, per_sample_dense, per_sample_take, shared_dense


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

    @property
    def whole(self) -> bool:
        """Whether it is one weight for the batch, held as one tensor of its shape."""
        return False

    @property
    def thin(self) -> bool:
        """Whether every product takes fewer multiplications than one written out."""
        return False

    @abc.abstractmethod
    def materialize(self) -> Any:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""

    @abc.abstractmethod
    def scaled(self, factor: Any) -> "Kernel":
        """Returns the weight times a number."""

    def weighted(self, factors: Any) -> "Kernel":
        """Returns the weights of a batched kernel, each times the number of its sample.

        Args:
            factors: Tensor of shape `(batch,)`.
        """
        return self.scaled(ops.reshape(factors, (-1, *(1 for _ in self.shape))))

    @abc.abstractmethod
    def cast(self, dtype: str) -> "Kernel":
        """Returns the weight in another floating point type."""

    @property
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if it is not known."""
        raise NotImplementedError(f"{type(self).__name__} must implement `rows`.")

    @abc.abstractmethod
    def repeated(self, count: Any) -> "Kernel":
        """Returns the weights of a batched kernel with each of them `count` times in a row."""

    def tensors(self) -> list[Any]:
        """Returns the tensors that hold the weight, for `with_tensors`."""
        found = []
        for value in vars(self).values():
            if isinstance(value, Kernel):
                found.extend(value.tensors())
            elif ops.is_tensor(value):
                found.append(value)
        return found

    def with_tensors(self, tensors: Iterator[Any]) -> "Kernel":
        """Returns a weight of the same form that other tensors hold.

        Args:
            tensors: Iterator over tensors in the order of `tensors()`.
        """
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Kernel):
                setattr(other, name, value.with_tensors(tensors))
            elif ops.is_tensor(value):
                setattr(other, name, next(tensors))
        return other

    def times(self, base: Any) -> "Kernel":
        """Returns the weight times a tensor of its shape, number by number."""
        return Full(self.materialize() * base, self.batched)

    def apply(
        self, product: Callable[[Any, Any, bool], Any], inputs: Any, channel_axis: int = -1
    ) -> Any:
        """Returns any product of the inputs that is linear in the weight.

        Args:
            product: Called with the inputs, a weight as a tensor, and whether it
                is batched.
            inputs: Tensor of shape `(batch, ...)`.
            channel_axis: Axis of the outputs that holds the units.
        """
        return product(inputs, self.materialize(), self.batched)

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs.

        Args:
            inputs: Tensor of shape `(batch, ..., in)`.

        Returns:
            Tensor of shape `(batch, ..., out)`.
        """
        return self.apply(_dense, inputs)

    def conv(
        self,
        inputs: Any,
        *,
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
        product = functools.partial(
            _conv,
            strides=list(strides),
            padding=padding,
            data_format=data_format,
            dilation_rate=list(dilation_rate),
        )
        return self.apply(product, inputs, -1 if data_format == "channels_last" else 1)

    def lookup(self, ids: Any) -> Any:
        """Returns rows of a weight of two axes.

        Args:
            ids: Integer tensor of shape `(batch, ...)`.

        Returns:
            Tensor of shape `(batch, ..., dim)`.
        """
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


def known(length: Any) -> int | None:
    """Returns the length of an axis, None if it is not known: JAX has symbols for it."""
    return length if isinstance(length, int) else None


def dense_of_one_position(kernel: Kernel, inputs: Any) -> Any:
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


def as_shape(shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> tuple[int, int]:
    """Returns the shape of the matrix of some axes of a weight by the others."""
    return math.prod(shape[axis] for axis in rows), math.prod(shape[axis] for axis in columns)


def as_matrix(
    weight: Any, rows: Sequence[int], columns: Sequence[int], batched: bool = False
) -> Any:
    """Returns a weight, or a batch of weights, as matrices.

    Args:
        weight: Tensor of shape `shape`, or `(batch, *shape)`.
        rows: The axes of `shape` that become the rows.
        columns: The other axes.
        batched: Whether there is a batch axis.
    """
    lead = int(batched)
    order = [*range(lead), *(axis + lead for axis in (*rows, *columns))]
    height, width = as_shape(weight.shape[lead:], rows, columns)
    if order != sorted(order):
        weight = ops.transpose(weight, order)
    return ops.reshape(weight, (*ops.shape(weight)[:lead], height, width))


def from_matrix(
    matrix: Any, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
) -> Any:
    """Returns the weights of which `as_matrix` makes `matrix`.

    Args:
        matrix: Tensor of shape `(..., height, width)`.
        shape: Shape of one weight.
        rows: The axes of `shape` that are the rows.
        columns: The other axes.
    """
    lead = ops.shape(matrix)[:-2]
    axes = [*rows, *columns]
    weight = ops.reshape(matrix, (*lead, *(shape[axis] for axis in axes)))
    if axes == sorted(axes):
        return weight
    back = [axes.index(axis) + len(lead) for axis in range(len(axes))]
    return ops.transpose(weight, [*range(len(lead)), *back])


def _dense(inputs: Any, weight: Any, batched: bool) -> Any:
    return (per_sample_dense if batched else shared_dense)(inputs, weight)


def _conv(inputs: Any, weight: Any, batched: bool, **kwargs: Any) -> Any:
    return (per_sample_conv if batched else ops.conv)(inputs, weight, **kwargs)


def _lookup(ids: Any, weight: Any, batched: bool) -> Any:
    return per_sample_take(weight, ids) if batched else ops.take(weight, ids, axis=0)


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

    @property
    def whole(self) -> bool:
        """Whether it is one weight for the batch, held as one tensor of its shape."""
        return not self._batched

    @property
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if it is not known."""
        return known(self._value.shape[0])

    def materialize(self) -> Any:
        """Returns the weight as one tensor."""
        return self._value

    def scaled(self, factor: Any) -> "Full":
        """Returns the weight times a number."""
        return Full(self._value * factor, self._batched)

    def repeated(self, count: Any) -> "Full":
        """Returns the weights with each of them `count` times."""
        return Full(ops.repeat(self._value, count, axis=0), self._batched)

    def cast(self, dtype: str) -> "Full":
        """Returns the weight in another floating point type."""
        return Full(ops.cast(self._value, dtype), self._batched)


class BatchedKernel(Kernel):
    """Base of per-sample weights that are held in another form."""

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample: always."""
        return True
