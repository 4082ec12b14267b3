"""Weights that are linear in their embeddings."""

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

# Initial size of `H e` relative to `beta` with initialization="native", as in SIREN.
_NATIVE_SHARE = 0.01


@serializable
class LinearGenerator(Generator):
    r"""Makes a weight as a linear function of its embedding.

    `W = reshape(H e + beta)`, equation (5) of Ha, Dai & Le ("HyperNetworks", ICLR 2017). It is the
    most expressive generator and the largest: a weight of `size` elements takes
    `(embedding_dim + 1) * size` parameters. It serves one weight shape.

    Per-sample weights are mixtures of shared weights. A dense product with inputs of rank 2 never
    materializes them.

    Args:
        embedding_dim: Integer, width of the embedding.
        initialization: `"variance"`: the weight starts with the variance of the layer's
            `kernel_initializer`, and `beta` is zero. `"native"`: `beta` is a draw from the
            `kernel_initializer`, and `H e` a hundredth of its size. Initializers other than
            `keras.initializers.VarianceScaling` always use `"native"`.
        normalize_condition: Boolean, see `Generator`.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, embedding_dim)`.

    Output shape:
        `(..., 1, size)`, values of variance 1 (`"variance"`).

    Raises:
        ValueError: If weights of different shapes share the generator.

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
        """Returns `(1, embedding_dim)`."""
        return 1, self.embedding_dim

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the layers. Called by `prepare`, which sets the weight's shape."""
        units, width = self.head_units(), self.build_features(input_shape)
        initializers = self.head_initializers(width)
        self.head = keras.layers.Dense(units, **initializers, dtype=self.dtype_policy, name="head")
        self.head.build((None, width))

    def head_units(self) -> int:
        """Returns the number of outputs of the head."""
        return math.prod(self.one_shape())

    def head_initializers(self, width: int) -> dict[str, Initializer | Callable[..., Tensor]]:
        """Returns the initializers of the head, for features of the given width."""
        normal, native = keras.initializers.RandomNormal(stddev=width**-0.5), self._native
        if native is None:
            return {"kernel_initializer": normal}
        weight_shape = self.one_shape()

        def small(shape: Sequence[int], dtype: str | None = None) -> Tensor:
            rms = ops.sqrt(ops.mean(ops.square(native(weight_shape, dtype=dtype))))
            return normal(shape, dtype=dtype) * rms * _NATIVE_SHARE

        return {"kernel_initializer": small, "bias_initializer": flat_draw(native, weight_shape)}

    def build_features(self, input_shape: Sequence[int | None]) -> int:
        """Builds the layers before the head, and returns their width."""
        return self.embedding_dim

    def features(self, embedding: Tensor) -> Tensor:
        """Returns the inputs of the head, which have a mean square of 1."""
        return embedding

    def call(self, embedding: Tensor) -> Tensor:
        """Returns the flattened weight."""
        *lead, width = ops.shape(embedding)
        # One matrix of rows, for the reason given in `shared_dense`.
        rows = self.head(self.features(ops.reshape(embedding, (-1, width))))
        return ops.reshape(rows, (*lead, self.head.units))

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight, as a mixture for a batch of embeddings."""
        # The kernel of a quantized head has integers and scales that only its call combines.
        if len(embedding.shape) == 2 or self.head.quantization_mode is not None:
            return super().kernel(embedding, weight_shape)
        dtype = self.compute_dtype
        bank = ops.cast(self.head.kernel, dtype)
        return Mixture(
            bank=ops.reshape(bank, (bank.shape[0], *weight_shape)),
            coefficients=ops.cast(self.features(ops.squeeze(embedding, 1)), dtype),
            bias=ops.reshape(ops.cast(self.head.bias, dtype), weight_shape),
        )
