"""Random conditions: different weights in each call."""

from typing import Any

import keras
from keras import ops

from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.checks import positive_int


@serializable
class NoiseCondition(keras.layers.Layer):
    """Draws standard normal vectors, for use as conditions.

    Weights generated from noise are samples from an implicit distribution over networks (Krueger et
    al., "Bayesian hypernetworks", 2017). New vectors are drawn in training and in inference.

    Args:
        dim: Integer, width of the vectors.
        shared: Whether to draw one vector for the whole batch instead of one per sample.
        seed: Optional integer, random seed.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, ...)`. Only its batch size is used.

    Output shape:
        `(batch, dim)`, or `(dim,)` if `shared`.

    Raises:
        ValueError: If `dim` is not positive.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, NoiseCondition
        >>> x = keras.Input((5,))
        >>> y = HyperDense(1)(x, condition=NoiseCondition(8)(x))
        >>> keras.Model(x, y).output_shape
        (None, 1)
    """

    def __init__(
        self, dim: int, shared: bool = False, seed: int | None = None, **kwargs: Any
    ) -> None:
        # Only the shape of the inputs is used, so they need no cast.
        super().__init__(autocast=False, **kwargs)
        self.dim = positive_int("dim", dim)
        self.shared = bool(shared)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, inputs_shape: Shape | None = None) -> None:
        """Creates no variables."""

    def call(self, inputs: Tensor) -> Tensor:
        """Draws the vectors."""
        shape = (self.dim,) if self.shared else (ops.shape(inputs)[0], self.dim)
        return keras.random.normal(shape, dtype=self.compute_dtype, seed=self.seed_generator)

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        """Returns the output shape."""
        return (self.dim,) if self.shared else (inputs_shape[0], self.dim)

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        config = {"dim": self.dim, "shared": self.shared, "seed": self.seed}
        return {**super().get_config(), **config}
