"""A weight as a product of two thin matrices."""

from collections.abc import Sequence

from keras import ops

from keras_hyper.kernels.kernel import Full, Kernel
from keras_hyper.kernels.matrix import from_matrix
from keras_hyper.ops import channels_last, channels_to, conv_groups
from keras_hyper.typing import Tensor


class LowRank(Kernel):
    r"""A weight in two factors, `W = U V`, or a pair of factors for each sample.

    A product of per-sample weights with inputs of rank 2 is `(x_b U_b) V_b`: two thin products. A
    lookup takes rows of `U_b` first. Other products use the factors if the kernel is `thin`: for
    `m` rows and `n` columns, a `rank` below `m n / (m + n)`. Otherwise they write out the weight.

    Args:
        left: Tensor of shape `(batch, rows, rank)` or `(rows, rank)`.
        right: Tensor of shape `(batch, rank, columns)` or `(rank, columns)`.
        shape: Tuple of integers, the shape of one weight.
        rows: Axes of the weight that are the rows of `left`. None: all but the last.

    Examples:
        >>> import keras
        >>> from keras_hyper.kernels import LowRank
        >>> kernel = LowRank(keras.ops.ones((4, 6, 2)), keras.ops.ones((4, 2, 3)), shape=(6, 3))
        >>> tuple(kernel.dense(keras.ops.ones((4, 6))).shape)
        (4, 3)
    """

    by_sample = ("_left", "_right")
    linear_in = ("_right",)

    def __init__(
        self, left: Tensor, right: Tensor, shape: Sequence[int], rows: Sequence[int] | None = None
    ) -> None:
        self.shape = tuple(shape)
        self.batched = len(left.shape) == 3
        self._left = Full(left, self.batched)
        self._right = Full(right, self.batched)
        self._rows = tuple(range(len(shape) - 1)) if rows is None else tuple(rows)
        self._columns = tuple(axis for axis in range(len(shape)) if axis not in self._rows)
        (height, rank), (_, width) = self._left.shape, self._right.shape
        self.thin = rank * (height + width) < height * width

    def materialize(self) -> Tensor:
        product = self._left.materialize() @ self._right.materialize()
        return from_matrix(product, self.shape, self._rows, self._columns)

    def factors(self) -> dict[str, Tensor]:
        return {"left": self._left.materialize(), "right": self._right.materialize()}

    def dense(self, inputs: Tensor) -> Tensor:
        if not self.thin and (len(inputs.shape) != 2 or not self.batched):
            return super().dense(inputs)
        return self._right.dense(self._left.dense(inputs))

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        data_format = options["data_format"]
        if not self.thin or conv_groups(inputs, self.shape, data_format) > 1:
            return super().conv(inputs, **options)
        # A convolution with `rank` filters, and one of window size 1.
        left = self._left.materialize()
        left = ops.reshape(left, (*ops.shape(left)[:-2], *self.shape[:-1], left.shape[-1]))
        outputs = Full(left, self.batched).conv(inputs, **options)
        outputs = self._right.dense(channels_last(outputs, data_format))
        return channels_to(outputs, data_format)

    def lookup(self, ids: Tensor) -> Tensor:
        return self._right.dense(self._left.lookup(ids))

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> Kernel:
        if tuple(rows) != self._rows or tuple(columns) != self._columns:
            return super().matrix(rows, columns)
        return LowRank(**self.factors(), shape=(self._left.shape[0], self._right.shape[1]))

    def from_matrix(
        self, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
    ) -> Kernel:
        if list(columns) != sorted(columns):
            return super().from_matrix(shape, rows, columns)
        return LowRank(**self.factors(), shape=shape, rows=rows)
