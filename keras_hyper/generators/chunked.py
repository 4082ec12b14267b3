"""A weight of any size, made in chunks by one small perceptron."""

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
    r"""Makes a weight of any size in chunks, each by a call of one small perceptron.

    `w_j = H n(h(e_j)) + beta` for each chunk `j`, with a learned embedding `e_j` and the perceptron
    of `MLPGenerator`. The weight is all chunks in a row, the last one cut. One generator serves
    every shape, so that a whole network can share it (von Oswald et al., "Continual learning with
    hypernetworks", ICLR 2020). The row has the weights of one unit (a column of a dense kernel, a
    filter) after those of another: a good chunk is as long as a unit, or as an even part of one.

    A condition shifts the embeddings of all chunks of a weight alike, `e_j + P c`, so that `P` is
    as large for a thousand chunks as for one.

    It has `(hidden_units[-1] + 1) * chunk_size` parameters, besides the hidden layers, however many
    weights share it. Every chunk starts with exactly its standard deviation if `chunk_size` is at
    least the width of the last hidden layer, and on average below it. Very narrow `"relu"` layers
    can have no active unit.

    Args:
        chunk_size: Integer, size of a chunk.
        hidden_units: Tuple of integers, the widths of the hidden layers.
        activation: Activation of the hidden layers.
        dropout: Float, rate of the dropout after each hidden layer. With dropout, all chunks of a
            weight are made at once.
        embedding_dim: Integer, width of a chunk's embedding.
        normalize_condition: Whether embeddings made from a condition are scaled to a root mean
            square of 1.
        seed: Optional integer, the seed of the dropout.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., chunks, embedding_dim)`.

    Output shape:
        `(..., chunks, chunk_size)`, values of variance 1.

    Raises:
        ValueError: If `hidden_units` is empty, or if the layer's initializer has no known standard
            deviation.

    Examples:
        Two layers of different shapes from one network:

        >>> import keras
        >>> from keras_hyper import ChunkedGenerator, HyperConv2D, HyperDense
        >>> chunks = ChunkedGenerator(chunk_size=100, hidden_units=(12,), embedding_dim=10)
        >>> model = keras.Sequential([
        ...     keras.Input((28, 28, 3)),
        ...     HyperConv2D(16, 3, generator=chunks),
        ...     keras.layers.GlobalAveragePooling2D(),
        ...     HyperDense(10, generator=chunks),
        ... ])
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
        self.chunk_size = positive_int("chunk_size", chunk_size)
        hidden = sum(self.hidden_units)
        # Made again for their gradients, groups would drop other units.
        self.work = hidden if hidden > self.chunk_size and not self.dropout.rate else 0

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(chunks, embedding_dim)`."""
        return math.ceil(math.prod(weight_shape) / self.chunk_size), self.embedding_dim

    def head_units(self) -> int:
        """Returns the size of a chunk."""
        return self.chunk_size

    def head_initializers(self, width: int) -> dict[str, Initializer | Callable[..., Tensor]]:
        """Returns the initializers of the head, for features of a width."""
        return {"kernel_initializer": UnitGainOrthogonal()}

    def assemble(self, pieces: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """Returns the chunks in a row, cut to size, in the shape of the weight."""
        return self._cut(pieces, [weight_shape])[0]

    def assemble_all(
        self, pieces: Tensor, weight_shapes: Sequence[Sequence[int]], axis: int
    ) -> list[Tensor]:
        """Returns several weights, put together from the chunks of all of them."""
        if type(self).assemble is not ChunkedGenerator.assemble:
            return super().assemble_all(pieces, weight_shapes, axis)  # A subclass has its own way.
        return self._cut(pieces, weight_shapes)

    def _cut(self, pieces: Tensor, weight_shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Returns weights from their chunks in a row.

        Each number is copied once, and once in the gradient: what is cut off is split off.
        """
        lead = ops.shape(pieces)[:-2]
        sizes: list[int] = []
        for shape in weight_shapes:
            size, chunks = math.prod(shape), self.embedding_shape(shape)[0]
            sizes += [size, chunks * self.chunk_size - size]
        flat = ops.reshape(pieces, (*lead, sum(sizes)))
        ends = list(itertools.accumulate(sizes))
        parts = ops.split(flat, ends[:-1], axis=len(lead))[::2] if sizes[1:] != [0] else [flat]
        return [_unit_by_unit(own, s, lead) for own, s in zip(parts, weight_shapes, strict=True)]

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight, written out."""
        return Generator.kernel(self, embedding, weight_shape)

    def limits(self, weight_shape: Sequence[int]) -> dict[str, str]:
        """Returns why the generator does not fit a weight, by kind, with figures."""
        size = math.prod(weight_shape)
        made = self.embedding_shape(weight_shape)[0] * self.chunk_size
        limits = super().limits(weight_shape)
        if 2 * size < made:
            limits["unused"] = f"of the {made:,} numbers of its chunks it uses {size:,}"
        return limits


def _unit_by_unit(flat: Tensor, weight_shape: Sequence[int], lead: Sequence[Tensor]) -> Tensor:
    """Returns weights whose numbers are given unit after unit, not input after input."""
    if len(weight_shape) < 2:
        return ops.reshape(flat, (*lead, *weight_shape))
    *inputs, units = weight_shape
    return ops.moveaxis(ops.reshape(flat, (*lead, units, *inputs)), len(lead), -1)
