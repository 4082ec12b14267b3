"""The generator without parameters: the embedding is the weight."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_hyper.generators.generator import Generator
from keras_hyper.saving import serializable


@serializable
class DirectGenerator(Generator):
    """Takes the embedding itself for the weight: `W = reshape(e)`.

    It holds no parameters and serves every shape. A layer with
    `generator=None` uses it for kernels that are too small for any other
    generator to store less; with a condition, the projection of the condition
    onto the embedding is then the whole hypernetwork.

    Args:
        normalize_condition: Whether an embedding made from a condition is
            scaled to a root mean square of 1.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, size)`.

    Output shape:
        The same as the input shape.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.generators import DirectGenerator
        >>> layer = HyperDense(3, generator=DirectGenerator())
        >>> layer.build((None, 5))
        >>> layer.count_params()  # 15 numbers of the kernel, 3 of the bias
        18
    """

    shape_free = True

    def __init__(self, normalize_condition: bool = True, **kwargs: Any) -> None:
        super().__init__(normalize_condition=normalize_condition, **kwargs)
        # The width is the weight's size, whichever weight asks.
        self.input_spec = None

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(1, size)`."""
        return 1, math.prod(weight_shape)

    def call(self, embedding: Any) -> Any:
        """Returns the embedding."""
        return embedding

    def assemble(self, pieces: Any, weight_shape: Sequence[int]) -> Any:
        """Returns the one piece in the shape of the weight."""
        lead = ops.shape(pieces)[:-2]
        return ops.reshape(pieces, (*lead, *weight_shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this generator again."""
        config = super().get_config()
        del config["embedding_dim"], config["initialization"]
        return config
