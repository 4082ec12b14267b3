"""A weight as a product of two thin matrices."""

from collections.abc import Sequence

from keras import ops

from keras_hyper.kernels.kernel import Full, Kernel
from keras_hyper.kernels.matrix import from_matrix
from keras_hyper.ops import channels_last, channels_to, conv_groups
from keras_hyper.typing import Tensor


class LowRank(Kernel):
    r"""A weight in two factors, `W = U V`, with `rank` columns in `U`; or one for each sample.

    A product with per-sample weights and inputs of rank 2 is `(x_b U_b) V_b`, two thin products,
    and a lookup takes rows of `U_b` first. With many positions in a sample, in convolutions, and
    with one weight for the batch, this is faster only where the kernel is `thin`: with a `rank`
    below `m n / (m + n)` for a kernel of `m` times `n`.

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

    by_sample = ("_left", "_right")
    linear_in = ("_right",)

    def __init__(
        self, left: Tensor, right: Tensor, shape: tuple[int, ...], rows: Sequence[int] | None = None
    ) -> None:
        self._batched = len(left.shape) == 3
        self._left = Full(left, self._batched)
        self._right = Full(right, self._batched)
        self._shape = tuple(shape)
        self._rows = tuple(range(len(shape) - 1)) if rows is None else tuple(rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one weight, without the batch axis."""
        return self._shape

    @property
    def batched(self) -> bool:
        """Whether there is one weight for each sample."""
        return self._batched

    @property
    def _columns(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self._shape)) if axis not in self._rows)

    @property
    def thin(self) -> bool:
        """Whether both factors together are smaller than the weight."""
        (rows, rank), (_, columns) = self._left.shape, self._right.shape
        return rank * (rows + columns) < rows * columns

    def materialize(self) -> Tensor:
        """Returns the weight as one tensor, `(batch, *shape)` if batched."""
        product = self._left.materialize() @ self._right.materialize()
        return from_matrix(product, self._shape, self._rows, self._columns)

    def factors(self) -> dict[str, Tensor]:
        """Returns both factors."""
        return {"left": self._left.materialize(), "right": self._right.materialize()}

    def dense(self, inputs: Tensor) -> Tensor:
        """Returns `inputs @ weight`, over the last axis of the inputs."""
        if not self.thin and (len(inputs.shape) != 2 or not self.batched):
            return super().dense(inputs)
        return self._right.dense(self._left.dense(inputs))

    def conv(self, inputs: Tensor, **options: Tensor) -> Tensor:
        """Returns the convolution: `rank` channels first, and all filters from them."""
        data_format = options["data_format"]
        if not self.thin or conv_groups(inputs, self._shape, data_format) > 1:
            return super().conv(inputs, **options)
        left = self._left.materialize()
        left = ops.reshape(left, (*ops.shape(left)[:-2], *self._shape[:-1], left.shape[-1]))
        outputs = Full(left, self.batched).conv(inputs, **options)
        outputs = self._right.dense(channels_last(outputs, data_format))
        return channels_to(outputs, data_format)

    def lookup(self, ids: Tensor) -> Tensor:
        """Returns rows: those of the left factor, times the right one."""
        return self._right.dense(self._left.lookup(ids))

    def matrix(self, rows: Sequence[int], columns: Sequence[int]) -> Kernel:
        """Returns the weight as a kernel of two axes, in its factors if they are those axes'."""
        if tuple(rows) != self._rows or tuple(columns) != self._columns:
            return super().matrix(rows, columns)
        return self._of_shape((self._left.shape[0], self._right.shape[1]), (0,))

    def from_matrix(
        self, shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]
    ) -> Kernel:
        """Returns the weight of which this kernel of two axes is the `matrix`."""
        if tuple(columns) != tuple(sorted(columns)):
            return super().from_matrix(shape, rows, columns)
        return self._of_shape(shape, rows)

    def _of_shape(self, shape: Sequence[int], rows: Sequence[int]) -> Kernel:
        return LowRank(self._left.materialize(), self._right.materialize(), tuple(shape), rows)
