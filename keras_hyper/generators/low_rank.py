"""Kernels as products of two thin generated matrices."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_hyper.generators.linear import LinearGenerator
from keras_hyper.kernels import Kernel, LowRank
from keras_hyper.saving import serializable
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import positive_int


@serializable
class LowRankGenerator(LinearGenerator):
    r"""Makes a kernel as a product of two thin matrices.

    `W = reshape(U V) / sqrt(rank)`. `U`, of shape `(prod(shape[:-1]), rank)`, and `V`, of shape
    `(rank, shape[-1])`, are linear in the embedding. The generator serves one weight shape and has
    `(embedding_dim + 1) * rank * (prod(shape[:-1]) + shape[-1])` parameters.

    A dense product of per-sample kernels with inputs of rank 2 is two thin products, and no kernel
    is materialized. If both factors together are smaller than the kernel, this also holds for
    inputs of higher rank and for convolutions (not grouped, depthwise or transposed).

    Args:
        rank: Integer, the rank of the kernel as a matrix of inputs by units.
        embedding_dim: Integer, width of the embedding.
        normalize_condition: Boolean, see `Generator`. If False, the weights start too large, since
            both factors are proportional to the embedding.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, embedding_dim)`.

    Output shape:
        `(..., 1, rank * (prod(shape[:-1]) + shape[-1]))`: `U`, then `V`, of variance 1.

    Raises:
        ValueError: If weights of different shapes share the generator, or the standard deviation of
            the layer's initializer is unknown.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, LowRankGenerator
        >>> layer = HyperDense(300, generator=LowRankGenerator(rank=2, embedding_dim=4))
        >>> outputs = layer(keras.ops.ones((2, 500)), condition=keras.ops.ones((2, 7)))
        >>> layer.generator.count_params()  # 5 * 2 * (500 + 300), for 150,000 weights
        8000
    """

    argument_names = ("rank", "embedding_dim", "normalize_condition", "normalization")
    initializations = ("variance",)
    factors = True

    def __init__(
        self,
        rank: int = 4,
        embedding_dim: int = 8,
        normalize_condition: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(embedding_dim, normalize_condition=normalize_condition, **kwargs)
        self.rank = positive_int("rank", rank)

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(1, embedding_dim)`."""
        if not weight_shape:
            raise ValueError(
                f"LowRankGenerator '{self.name}' supports only weights with one axis or more. "
                "Received: weight_shape=()"
            )
        return super().embedding_shape(weight_shape)

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight as two factors."""
        fan_in, fan_out = math.prod(weight_shape[:-1]), weight_shape[-1]
        factors = self(embedding)
        lead = ops.shape(factors)[:-2]
        split = fan_in * self.rank
        left = ops.reshape(factors[..., :split], (*lead, fan_in, self.rank))
        right = ops.reshape(factors[..., split:], (*lead, self.rank, fan_out)) * self.rank**-0.5
        return LowRank(left, right, tuple(weight_shape))

    def limits(self, weight_shape: Sequence[int]) -> dict[str, str]:
        """Returns the reasons why the generator does not fit a weight."""
        most = min(math.prod(weight_shape[:-1]), weight_shape[-1])
        limits = super().limits(weight_shape)
        if self.rank > most:
            limits["unused"] = f"rank={self.rank} exceeds {most}, the maximum rank of such a kernel"
        return limits

    def head_units(self) -> int:
        """Returns the total size of both factors."""
        *inputs, units = self.one_shape()
        return self.rank * (math.prod(inputs) + units)
