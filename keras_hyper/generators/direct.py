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
    """Uses the embedding itself as the weight: `W = reshape(e)`.

    It has no parameters and serves every shape. A static weight is then an ordinary one, and a
    conditioned weight is linear in its condition. A layer with `generator=None` uses it where no
    other generator would store less, and for a generated bias.

    Args:
        initialization: `"variance"`: the weight starts with the variance of the layer's
            `kernel_initializer`, whatever the condition. `"native"`: it starts as a draw of that
            initializer, and the projection of a condition starts at zero: `W = W_0 + P c`.
        normalize_condition: Whether an embedding made from a condition is scaled to a root mean
            square of 1. Ignored with `"native"`, which never scales.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, size)`.

    Output shape:
        The same as the input shape.

    Raises:
        ValueError: If `initialization` is neither.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.generators import DirectGenerator
        >>> layer = HyperDense(3, generator=DirectGenerator())
        >>> layer.build((None, 5))
        >>> layer.count_params()  # 15 numbers of the kernel, 3 of the bias
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
        # The width is the weight's size, whichever weight asks.
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
        """Returns the scale of a weight: 1 if the embedding is the initializer's draw."""
        if self.initialization == "native":
            return 1.0, None
        return self.matching_std(weight_shape, initializer), None

    def call(self, embedding: Tensor) -> Tensor:
        """Returns the embedding."""
        return embedding
