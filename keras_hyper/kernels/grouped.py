"""Weights that are each used by several samples in a row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras import ops

from keras_hyper.kernels.kernel import BatchedKernel, Kernel


def grouped(kernels: Mapping[str, Kernel], count: Any) -> dict[str, Kernel]:
    """Returns kernels whose weights are each for a number of samples in a row.

    Args:
        kernels: Kernels by name. One weight for the batch stays as it is.
        count: Number of samples.
    """
    return {name: Grouped(k, count) if k.batched else k for name, k in kernels.items()}


class Grouped(BatchedKernel):
    """One weight for every `count` samples in a row of the batch.

    Dense products and lookups take all samples of a weight at once. For other products the
    weight, in the form that holds it, is repeated for each sample.

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

    def __init__(self, kernel: Kernel, count: Any) -> None:
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

    def repeated(self, count: Any) -> Kernel:
        """Returns the weights with each of them `count` times."""
        return Grouped(self._kernel, self._count * count)

    def _each(self) -> Kernel:
        return self._kernel.repeated(self._count)

    def materialize(self) -> Any:
        """Returns the weights as one tensor `(batch, *shape)`."""
        return self._each().materialize()

    def scaled(self, factor: Any) -> "Grouped":
        """Returns the weight times a number."""
        return Grouped(self._kernel.scaled(factor), self._count)

    def cast(self, dtype: str) -> "Grouped":
        """Returns the weight in another floating point type."""
        return Grouped(self._kernel.cast(dtype), self._count)

    def apply(
        self, product: Callable[[Any, Any, bool], Any], inputs: Any, channel_axis: int = -1
    ) -> Any:
        """Returns any product of the inputs that is linear in the weight."""
        return self._each().apply(product, inputs, channel_axis)

    def conv(self, inputs: Any, **options: Any) -> Any:
        """Returns the convolution of the inputs with the weight."""
        return self._each().conv(inputs, **options)

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        return self._together(self._kernel.dense, inputs)

    def lookup(self, ids: Any) -> Any:
        """Returns rows of a weight of two axes."""
        return self._together(self._kernel.lookup, ids)

    def _together(self, product: Callable[[Any], Any], inputs: Any) -> Any:
        """Returns a product with the samples of each weight as positions."""
        batch, *rest = ops.shape(inputs)
        outputs = product(ops.reshape(inputs, (batch // self._count, self._count, *rest)))
        return ops.reshape(outputs, (batch, *ops.shape(outputs)[2:]))

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Grouped":
        """Returns the weight as a kernel of two axes."""
        return Grouped(self._kernel.matrix(rows, columns), self._count)
