"""A weight as a product of two thin matrices."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_hyper.kernels.kernel import Full, Kernel, from_matrix, known
from keras_hyper.ops import (
    channels_last,
    channels_to,
    conv_groups,
    per_sample_dense,
    per_sample_take,
    shared_dense,
)


class LowRank(Kernel):
    r"""A weight in two factors, `W = U V`, with `rank` columns in `U`; or one for each sample.

    A product with per-sample weights and inputs of rank 2 is `(x_b U_b) V_b`, two thin
    products, and a lookup takes rows of `U_b` first. With many positions in a sample, in
    convolutions, and with one weight for the batch, this is faster only where the kernel is
    `thin`: with a `rank` below `m n / (m + n)` for a kernel of `m` times `n`.

    Args:
        left: Tensor of shape `(batch, rows, rank)`, or `(rows, rank)`.
        right: Tensor of shape `(batch, rank, columns)`, or `(rank, columns)`.
        shape: Tuple of integers, the shape of one weight.
        rows: The axes of the weight that are the rows of `left`. None: all but the last.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import LowRank
        >>> kernel = LowRank(keras.ops.ones((4, 6, 2)), keras.ops.ones((4, 2, 3)), shape=(6, 3))
        >>> tuple(kernel.dense(keras.ops.ones((4, 6))).shape)
        (4, 3)
    """

    def __init__(
        self, left: Any, right: Any, shape: tuple[int, ...], rows: Sequence[int] | None = None
    ) -> None:
        self._left = left
        self._right = right
        self._shape = tuple(shape)
        self._rows = tuple(range(len(shape) - 1)) if rows is None else tuple(rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return self._shape

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return len(self._left.shape) == 3

    @property
    def _columns(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self._shape)) if axis not in self._rows)

    @property
    def thin(self) -> bool:
        """Whether both factors together are smaller than the weight."""
        rows, columns = self._left.shape[-2], self._right.shape[-1]
        return self._right.shape[-2] * (rows + columns) < rows * columns

    @property
    def rows(self) -> int | None:
        """The number of weights of a batched kernel, None if it is not known."""
        return known(self._left.shape[0])

    def materialize(self) -> Any:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""
        return from_matrix(self._left @ self._right, self._shape, self._rows, self._columns)

    def scaled(self, factor: Any) -> "LowRank":
        """Returns the weight times a number."""
        return LowRank(self._left, self._right * factor, self._shape, self._rows)

    def weighted(self, factors: Any) -> "LowRank":
        """Returns the weights of a batched kernel, each times the number of its sample."""
        return self.scaled(ops.reshape(factors, (-1, 1, 1)))

    def repeated(self, count: Any) -> "LowRank":
        """Returns the weights with each of them `count` times."""
        left, right = (ops.repeat(x, count, axis=0) for x in (self._left, self._right))
        return LowRank(left, right, self._shape, self._rows)

    def cast(self, dtype: str) -> "LowRank":
        """Returns the weight in another floating point type."""
        left, right = ops.cast(self._left, dtype), ops.cast(self._right, dtype)
        return LowRank(left, right, self._shape, self._rows)

    def dense(self, inputs: Any) -> Any:
        """Returns `inputs @ weight`, over the last axis of the inputs.

        Args:
            inputs: Tensor of shape `(batch, ..., in)`.
        """
        if not self.thin and (len(inputs.shape) != 2 or not self.batched):
            return super().dense(inputs)
        return self._times_right(self._times_left(inputs))

    def _times_left(self, inputs: Any) -> Any:
        return (per_sample_dense if self.batched else shared_dense)(inputs, self._left)

    def _times_right(self, inputs: Any) -> Any:
        return (per_sample_dense if self.batched else shared_dense)(inputs, self._right)

    def conv(self, inputs: Any, **options: Any) -> Any:
        """Returns the convolution: `rank` channels first, and all filters from them."""
        data_format = options["data_format"]
        if not self.thin or conv_groups(inputs, self._shape, data_format) > 1:
            return super().conv(inputs, **options)
        lead = ops.shape(self._left)[:-2]
        left = ops.reshape(self._left, (*lead, *self._shape[:-1], self._right.shape[-2]))
        outputs = Full(left, self.batched).conv(inputs, **options)
        outputs = self._times_right(channels_last(outputs, data_format))
        return channels_to(outputs, data_format)

    def lookup(self, ids: Any) -> Any:
        """Returns rows: those of the left factor, times the right one."""
        if self.batched:
            return self._times_right(per_sample_take(self._left, ids))
        return self._times_right(ops.take(self._left, ids, axis=0))

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> Kernel:
        """Returns the weight as a kernel of two axes, in its factors if they are those axes'."""
        if tuple(rows) != self._rows or tuple(columns) != self._columns:
            return super().matrix(rows, columns)
        shape = (self._left.shape[-2], self._right.shape[-1])
        return LowRank(self._left, self._right, shape)

    def from_matrix(
        self, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
    ) -> Kernel:
        """Returns the weight of which this kernel of two axes is the `matrix`."""
        if tuple(columns) != tuple(sorted(columns)):
            return super().from_matrix(shape, rows, columns)
        return LowRank(self._left, self._right, tuple(shape), rows)
