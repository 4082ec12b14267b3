"""A weight that is linear in its embedding."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.generators.generator import Generator
from keras_hyper.initializers import flat_draw
from keras_hyper.kernels import Kernel, Mixture
from keras_hyper.saving import serializable
from keras_hyper.typing import Initializer, Tensor

# How large the part that depends on the embedding starts, against the draw of
# the initializer, with initialization="native" (as SIREN's hypernetworks do).
_NATIVE_SHARE = 0.01


@serializable
class LinearGenerator(Generator):
    r"""Makes a weight as a linear function of its embedding.

    `W = reshape(H e + beta)` with one head `H`: the most expressive generator and the largest, with
    `(embedding_dim + 1) * size` parameters for a weight of `size` elements. It serves one weight
    shape. See equation (5) of Ha, Dai & Le ("HyperNetworks", ICLR 2017).

    Per-sample weights stay a mixture of shared ones: a dense product with inputs of rank 2 never
    writes them out.

    Args:
        embedding_dim: Integer, width of the embedding.
        initialization: `"variance"`: `H` is drawn so that the weight has the variance of the
            layer's `kernel_initializer`, `beta` is zero. `"native"`: `beta` is a draw of the
            `kernel_initializer` and `H e` a hundredth of its size, as always for initializers other
            than `keras.initializers.VarianceScaling`.
        normalize_condition: Whether an embedding made from a condition is scaled to a root mean
            square of 1.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, embedding_dim)`.

    Output shape:
        `(..., 1, size)`, values of variance 1 (`"variance"`).

    Raises:
        ValueError: If one generator is shared by weights of different shapes.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, LinearGenerator
        >>> layer = HyperDense(3, generator=LinearGenerator(embedding_dim=4))
        >>> layer(keras.ops.ones((2, 5))).shape[1]
        3
        >>> layer.generator.count_params()  # 4 * 15 + 15
        75
    """

    initializations: tuple[str, ...] = ("variance", "native")

    def __init__(
        self,
        embedding_dim: int = 8,
        initialization: str = "variance",
        normalize_condition: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(embedding_dim, initialization, normalize_condition, **kwargs)
        self.head: Tensor = None

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(1, embedding_dim)`: a weight is one piece."""
        return 1, self.embedding_dim

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the head. Called by `prepare`, which knows the weight's shape."""
        units = self.head_units()
        width = self.build_features(input_shape)
        self.head = keras.layers.Dense(
            units, **self.head_initializers(width), dtype=self.dtype_policy, name="head"
        )
        self.head.build((None, width))

    def head_units(self) -> int:
        """Returns how many numbers the head makes."""
        return math.prod(self.one_shape())

    def head_initializers(self, width: int) -> dict[str, Initializer | Callable[..., Tensor]]:
        """Returns the initializers of the head, for features of a width."""
        normal, native = keras.initializers.RandomNormal(stddev=width**-0.5), self._native
        if native is None:
            return {"kernel_initializer": normal}
        return {
            "kernel_initializer": _small(normal, native, self.one_shape()),
            "bias_initializer": flat_draw(native, self.one_shape()),
        }

    def build_features(self, input_shape: Sequence[int | None]) -> int:
        """Creates what comes before the head and returns its width."""
        return self.embedding_dim

    def features(self, embedding: Tensor) -> Tensor:
        """Returns what the head is applied to; its mean square is 1."""
        return embedding

    def call(self, embedding: Tensor) -> Tensor:
        """Returns the numbers of the weight, flat."""
        *lead, width = ops.shape(embedding)
        # As one matrix of rows, for the reason that `shared_dense` gives.
        rows = self.head(self.features(ops.reshape(embedding, (-1, width))))
        return ops.reshape(rows, (*lead, self.head.units))

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight; for a batch of embeddings, as a mixture."""
        batched = len(embedding.shape) == 3
        # A quantized head holds integers and scales: only its own call knows them.
        if not batched or self.head.quantization_mode is not None:
            return super().kernel(embedding, weight_shape)
        dtype = self.compute_dtype
        bank = ops.cast(self.head.kernel, dtype)
        return Mixture(
            bank=ops.reshape(bank, (bank.shape[0], *weight_shape)),
            coefficients=ops.cast(self.features(ops.squeeze(embedding, 1)), dtype),
            bias=ops.reshape(ops.cast(self.head.bias, dtype), weight_shape),
        )


def _small(
    normal: keras.Initializer, native: keras.Initializer, weight_shape: Sequence[int]
) -> Callable[..., Tensor]:
    """Returns an initializer of a head that is small against a native draw."""

    def initializer(shape: Sequence[int], dtype: str | None = None) -> Tensor:
        rms = ops.sqrt(ops.mean(ops.square(native(weight_shape, dtype=dtype))))
        return normal(shape, dtype=dtype) * rms * _NATIVE_SHARE

    return initializer
