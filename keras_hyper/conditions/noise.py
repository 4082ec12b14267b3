"""Random conditions: different weights at every call."""

from typing import Any

import keras
from keras import ops

from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.checks import positive_int


@serializable
class NoiseCondition(keras.layers.Layer):
    """Draws standard normal vectors, to be used as conditions.

    Weights generated from noise are samples of an implicit distribution over
    networks (Krueger et al., "Bayesian hypernetworks", 2017). They are drawn in
    training and in inference alike.

    Args:
        dim: Integer, width of the vectors.
        shared: Whether one vector is drawn for the whole batch, rather than one
            for each sample.
        seed: Optional integer, random seed.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, ...)`. Only its batch size counts.

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
        # Only the shape of the inputs counts: ids are as good as images.
        super().__init__(autocast=False, **kwargs)
        self.dim = positive_int("dim", dim)
        self.shared = bool(shared)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, inputs_shape: Shape | None = None) -> None:
        """Creates nothing; the state of the random numbers exists already."""

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the vectors."""
        shape = (self.dim,) if self.shared else (ops.shape(inputs)[0], self.dim)
        return keras.random.normal(shape, dtype=self.compute_dtype, seed=self.seed_generator)

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        """Returns the shape of the vectors."""
        return (self.dim,) if self.shared else (inputs_shape[0], self.dim)

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        config = {"dim": self.dim, "shared": self.shared, "seed": self.seed}
        return {**super().get_config(), **config}
