"""Weights of any size, in chunks from one small perceptron."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops

from keras_hyper.generators.generator import Generator
from keras_hyper.generators.mlp import MLPGenerator
from keras_hyper.initializers import UnitGainOrthogonal
from keras_hyper.kernels import Kernel
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Initializer, Tensor
from keras_hyper.utils.checks import positive_int


@serializable
class ChunkedGenerator(MLPGenerator):
    r"""Makes a weight of any size in chunks, with one small perceptron.

    `w_j = H n(h(e_j)) + beta` for each chunk `j`, with a learned embedding `e_j` and the perceptron
    of `MLPGenerator`. The chunks are concatenated, and the last one is cropped. A whole network can
    share one generator (von Oswald et al., "Continual learning with hypernetworks", ICLR 2020).
    The weights of one unit (column of a dense kernel, filter) are contiguous, so a good chunk size
    is the size of a unit, or an integer fraction of it.

    A condition shifts the embeddings of all chunks of a weight alike, `e_j + P c`. The size of `P`
    does not depend on the number of chunks.

    The generator has `(hidden_units[-1] + 1) * chunk_size` parameters besides the hidden layers,
    for any number of weights. Each chunk starts with exactly the right standard deviation if
    `chunk_size` is at least `hidden_units[-1]`, otherwise on average. Very narrow `"relu"` layers
    may have no active unit.

    Args:
        chunk_size: Integer, size of a chunk.
        hidden_units: Tuple of integers, the widths of the hidden layers.
        activation: Activation of the hidden layers.
        dropout: Float, dropout rate after each hidden layer. With dropout, all chunks of a weight
            are made at once.
        embedding_dim: Integer, width of a chunk's embedding.
        normalize_condition: Boolean, see `Generator`.
        seed: Optional integer, random seed of the dropout.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., chunks, embedding_dim)`.

    Output shape:
        `(..., chunks, chunk_size)`, values of variance 1.

    Raises:
        ValueError: If `hidden_units` is empty, or the standard deviation of the layer's initializer
            is unknown.

    Examples:
        Two layers of different shapes with one generator:

        >>> import keras
        >>> from keras_hyper import ChunkedGenerator, HyperConv2D, HyperDense
        >>> chunks = ChunkedGenerator(chunk_size=100, hidden_units=(12,), embedding_dim=10)
        >>> x = HyperConv2D(16, 3, generator=chunks)(keras.Input((28, 28, 3)))
        >>> outputs = HyperDense(10, generator=chunks)(x)
        >>> chunks.count_params()  # 10 * 12 + 12, and 12 * 100 + 100
        1432
    """

    argument_names = (
        *("chunk_size", "hidden_units", "embedding_dim", "normalize_condition"),
        *("normalization", "seed"),
    )
    shape_free = True
    initializations = ("variance",)
    projects_pieces = False

    def __init__(
        self,
        chunk_size: int,
        hidden_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        embedding_dim: int = 8,
        normalize_condition: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hidden_units,
            activation,
            dropout,
            embedding_dim,
            normalize_condition=normalize_condition,
            seed=seed,
            **kwargs,
        )
        self.chunk_size = self._cropped_size = positive_int("chunk_size", chunk_size)
        hidden = sum(self.hidden_units)
        # Rematerialized groups would draw a different dropout mask.
        self.work = hidden if hidden > self.chunk_size and not self.dropout.rate else 0

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(chunks, embedding_dim)`."""
        return math.ceil(math.prod(weight_shape) / self.chunk_size), self.embedding_dim

    def head_units(self) -> int:
        """Returns the chunk size."""
        return self.chunk_size

    def head_initializers(self, width: int) -> dict[str, Initializer | Callable[..., Tensor]]:
        """Returns the initializers of the head, for features of the given width."""
        return {"kernel_initializer": UnitGainOrthogonal()}

    def assemble(self, pieces: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """Assembles a weight from its chunks."""
        return self._cut(pieces, [weight_shape])[0]

    def assemble_all(
        self, pieces: Tensor, weight_shapes: Sequence[Sequence[int]], axis: int
    ) -> list[Tensor]:
        """Assembles several weights from their concatenated chunks."""
        if type(self).assemble is not ChunkedGenerator.assemble:
            return super().assemble_all(pieces, weight_shapes, axis)  # A subclass overrides it.
        return self._cut(pieces, weight_shapes)

    def _cut(self, pieces: Tensor, weight_shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Returns weights from their concatenated chunks. The split also crops, without a copy."""
        lead = ops.shape(pieces)[:-2]
        sizes: list[int] = []
        for shape in weight_shapes:
            size, chunks = math.prod(shape), self.embedding_shape(shape)[0]
            sizes += [size, chunks * self.chunk_size - size]
        flat = ops.reshape(pieces, (*lead, sum(sizes)))
        ends = list(itertools.accumulate(sizes))
        parts = ops.split(flat, ends[:-1], axis=len(lead))[::2] if sizes[1:] != [0] else [flat]
        return [_units_last(part, s, lead) for part, s in zip(parts, weight_shapes, strict=True)]

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight as a tensor."""
        return Generator.kernel(self, embedding, weight_shape)


def _units_last(flat: Tensor, weight_shape: Sequence[int], lead: Sequence[Tensor]) -> Tensor:
    """Returns weights from flattened weights in which each unit is contiguous."""
    if len(weight_shape) < 2:
        return ops.reshape(flat, (*lead, *weight_shape))
    *inputs, units = weight_shape
    return ops.moveaxis(ops.reshape(flat, (*lead, units, *inputs)), len(lead), -1)
