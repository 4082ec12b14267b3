"""Weights that consecutive samples share."""

from collections.abc import Callable, Mapping, Sequence

from keras import ops

from keras_hyper.kernels.kernel import Kernel, Product
from keras_hyper.typing import Tensor


def grouped(kernels: Mapping[str, Kernel], count: Tensor) -> dict[str, Kernel]:
    """Returns kernels that use each per-sample weight for `count` consecutive samples."""
    return {name: Grouped(k, count) if k.batched else k for name, k in kernels.items()}


class Grouped(Kernel):
    """One weight for every `count` consecutive samples.

    Dense products and lookups process all samples of a weight together. For other products the
    stored form of the weight is repeated for each sample.

    Args:
        kernel: Batched `Kernel`.
        count: Number of samples for each weight: an integer or a scalar tensor.

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
        self.shape = kernel.shape

    @property
    def rows(self) -> int | None:
        """The number of samples, None if unknown."""
        rows = self._kernel.rows
        return rows * self._count if rows is not None and isinstance(self._count, int) else None

    def cast(self, dtype: str) -> "Grouped":
        return Grouped(self._kernel.cast(dtype), self._count)

    def repeated(self, count: Tensor) -> "Grouped":
        return Grouped(self._kernel, self._count * count)

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> "Grouped":
        return Grouped(self._kernel.matrix(rows, columns), self._count)

    def materialize(self) -> Tensor:
        return self._each().materialize()

    def apply(self, product: Product, inputs: Tensor, channel_axis: int = -1) -> Tensor:
        return self._each().apply(product, inputs, channel_axis)

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        return self._each().conv(inputs, **options)

    def _each(self) -> Kernel:
        """Returns a kernel with one weight for each sample."""
        return self._kernel.repeated(self._count)

    def dense(self, inputs: Tensor) -> Tensor:
        return self._together(self._kernel.dense, inputs)

    def lookup(self, ids: Tensor) -> Tensor:
        return self._together(self._kernel.lookup, ids)

    def _together(self, product: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """Returns a product that takes the samples of each weight as positions."""
        batch, *rest = ops.shape(inputs)
        outputs = product(ops.reshape(inputs, (batch // self._count, self._count, *rest)))
        return ops.reshape(outputs, (batch, *ops.shape(outputs)[2:]))
