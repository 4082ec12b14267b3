"""Weights that are each used by several samples in a row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from keras import ops

from keras_hyper.kernels.kernel import Kernel, Product
from keras_hyper.typing import Tensor


def grouped(kernels: Mapping[str, Kernel], count: Tensor) -> dict[str, Kernel]:
    """Returns kernels whose weights are each for a number of samples in a row.

    Args:
        kernels: Kernels by name. One weight for the batch stays as it is.
        count: Number of samples.
    """
    return {name: Grouped(k, count) if k.batched else k for name, k in kernels.items()}


class Grouped(Kernel):
    """One weight for every `count` samples in a row of the batch.

    Dense products and lookups take all samples of a weight at once. For other products the weight,
    in the form that holds it, is repeated for each sample.

    Args:
        kernel: Batched `Kernel`.
        count: Number of samples for each weight: an integer, or a scalar tensor.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import Full, Grouped
        >>> kernel = Grouped(Full(keras.ops.ones((4, 2, 3)), batched=True), count=5)
        >>> tuple(kernel.dense(keras.ops.ones((20, 2))).shape)
        (20, 3)
    """

    by_sample = ("_kernel",)
    linear_in = ("_kernel",)

    def __init__(self, kernel: Kernel, count: Tensor) -> None:
        self._kernel = kernel
        self._count = count

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return self._kernel.shape

    @property
    def rows(self) -> int | None:
        """The number of samples, None if it is not known."""
        rows = self._kernel.rows
        return rows * self._count if rows is not None and isinstance(self._count, int) else None

    def repeated(self, count: Tensor) -> Self:
        """Returns the weights with each of them `count` times."""
        return self._changed(lambda own: own * count, ("_count",))

    def _each(self) -> Kernel:
        return self._kernel.repeated(self._count)

    def materialize(self) -> Tensor:
        """Returns the weights as one tensor `(batch, *shape)`."""
        return self._each().materialize()

    def cast(self, dtype: str) -> Self:
        """Returns the weight in another floating point type."""
        return self._changed(lambda kernel: kernel.cast(dtype), ("_kernel",))

    def apply(self, product: Product, inputs: Tensor, channel_axis: int = -1) -> Tensor:
        """Returns any product of the inputs that is linear in the weight."""
        return self._each().apply(product, inputs, channel_axis)

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        """Returns the convolution of the inputs with the weight."""
        return self._each().conv(inputs, **options)

    def dense(self, inputs: Tensor) -> Tensor:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        return self._together(self._kernel.dense, inputs)

    def lookup(self, ids: Tensor) -> Tensor:
        """Returns rows of a weight of two axes."""
        return self._together(self._kernel.lookup, ids)

    def _together(self, product: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Returns a product with the samples of each weight as positions."""
        batch, *rest = ops.shape(inputs)
        outputs = product(ops.reshape(inputs, (batch // self._count, self._count, *rest)))
        return ops.reshape(outputs, (batch, *ops.shape(outputs)[2:]))

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Grouped":
        """Returns the weight as a kernel of two axes."""
        return Grouped(self._kernel.matrix(rows, columns), self._count)
