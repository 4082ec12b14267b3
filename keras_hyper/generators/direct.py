"""The generator without parameters: the embedding is the weight."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators.generator import Generator
from keras_hyper.initializers import flat_draw
from keras_hyper.saving import serializable
from keras_hyper.typing import Tensor


@serializable
class DirectGenerator(Generator):
    """Uses the embedding as the weight: `W = reshape(e)`.

    It has no parameters and serves every shape. A static weight is then an ordinary weight, and a
    conditioned weight is linear in its condition. Layers with `generator=None` use it for biases
    and small kernels.

    Args:
        initialization: `"variance"`: the weight starts with the variance of the layer's
            `kernel_initializer`, whatever the condition. `"native"`: it starts as a draw from that
            initializer, and the projection of a condition starts at zero: `W = W_0 + P c`.
        normalize_condition: Boolean, see `Generator`. Ignored with `"native"`, which never scales.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, size)`.

    Output shape:
        Same as the input shape.

    Raises:
        ValueError: If `initialization` has an unsupported value.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.generators import DirectGenerator
        >>> layer = HyperDense(3, generator=DirectGenerator())
        >>> layer.build((None, 5))
        >>> layer.count_params()  # 15 for the kernel, 3 for the bias
        18
    """

    argument_names = ("initialization", "normalize_condition", "normalization")
    shape_free = True
    initializations = ("variance", "native")

    def __init__(
        self, initialization: str = "variance", normalize_condition: bool = True, **kwargs: Any
    ) -> None:
        normalize_condition = normalize_condition and initialization != "native"
        super().__init__(
            initialization=initialization, normalize_condition=normalize_condition, **kwargs
        )
        # The width is the size of the weight, which differs between weights.
        self.embedding_dim: Tensor = None
        self.input_spec = None

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(1, size)`."""
        return 1, math.prod(weight_shape)

    def embedding_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> keras.Initializer:
        """Returns an initializer for the weight itself."""
        if self.initialization == "native":
            return flat_draw(initializer, weight_shape)
        return super().embedding_initializer(weight_shape, initializer)

    def projection_initializer(self, condition_dim: int) -> keras.Initializer:
        """Returns an initializer for the projection of a condition onto the weight."""
        if self.initialization == "native":
            return keras.initializers.Zeros()
        return super().projection_initializer(condition_dim)

    def match_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> tuple[float, keras.Initializer | None]:
        """Returns the standard deviation, or 1 if the embedding is a draw, and None."""
        native = self.initialization == "native"
        return 1.0 if native else self.matching_std(weight_shape, initializer), None

    def call(self, embedding: Tensor) -> Tensor:
        """Returns the embedding."""
        return embedding
