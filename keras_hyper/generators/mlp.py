"""Weights from a multi-layer perceptron."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras

from keras_hyper.generators.linear import LinearGenerator
from keras_hyper.ops import rms_normalize
from keras_hyper.saving import hold, serializable
from keras_hyper.typing import Activation, Config, Tensor
from keras_hyper.utils.checks import positive_ints


@serializable
class MLPGenerator(LinearGenerator):
    r"""Makes a weight from its embedding with a multi-layer perceptron.

    `h_0 = e`, `h_l = f(U_l h_(l-1) + c_l)` and `W = reshape(H n(h_L) + beta)`, where
    `n(h) = h / rms(h)`. With this normalization, the variance of the weights is exact for every
    activation, also during training.

    The generator serves one weight shape. For a weight of `size` elements, it has
    `(hidden_units[-1] + 1) * size` parameters besides the hidden layers.

    Args:
        hidden_units: Tuple of integers, the widths of the hidden layers.
        activation: Activation of the hidden layers.
        dropout: Float, dropout rate after each hidden layer.
        embedding_dim: Integer, width of the embedding.
        initialization: `"variance"` or `"native"`, see `LinearGenerator`.
        normalize_condition: Boolean, see `Generator`.
        seed: Optional integer, random seed of the dropout.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., 1, embedding_dim)`.

    Output shape:
        `(..., 1, size)`, values of variance 1 (`"variance"`).

    Raises:
        ValueError: If `hidden_units` is empty, or weights of different shapes share the generator.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, MLPGenerator
        >>> generator = MLPGenerator(hidden_units=(16,), activation="tanh")
        >>> layer = HyperDense(3, generator=generator)
        >>> outputs = layer(keras.ops.ones((2, 5)), condition=keras.ops.ones((2, 7)))
        >>> tuple(outputs.shape)
        (2, 3)
    """

    argument_names = (*LinearGenerator.argument_names, "hidden_units", "seed")

    def __init__(
        self,
        hidden_units: Sequence[int] = (64,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        embedding_dim: int = 8,
        initialization: str = "variance",
        normalize_condition: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(embedding_dim, initialization, normalize_condition, **kwargs)
        self.hidden_units = positive_ints("hidden_units", hidden_units)
        if not self.hidden_units:
            raise ValueError(
                "`hidden_units` must have at least one hidden layer. Received: hidden_units=(). "
                "Use LinearGenerator instead."
            )
        self.activation = keras.activations.get(activation)
        self.seed = seed
        if not isinstance(dropout, float | Real) or not 0 <= dropout < 1:
            raise ValueError(f"`dropout` must be a number in [0, 1). Received: dropout={dropout!r}")
        self.dropout = keras.layers.Dropout(float(dropout), seed=seed, dtype=self.dtype_policy)
        self.hidden: list[keras.layers.Dense] = []
        hidden = [
            keras.layers.Dense(
                units,
                activation=self.activation,
                kernel_initializer="he_normal",
                dtype=self.dtype_policy,
                name=f"hidden_{i}",
            )
            for i, units in enumerate(self.hidden_units)
        ]
        hold(self, "hidden", hidden)

    def build_features(self, input_shape: Sequence[int | None]) -> int:
        """Builds the hidden layers, and returns the width of the last one."""
        width = self.embedding_dim
        for layer in self.hidden:
            layer.build((None, width))
            width = layer.units
        return width

    def features(self, embedding: Tensor) -> Tensor:
        """Returns the outputs of the last hidden layer, scaled to a root mean square of 1."""
        features = embedding
        for layer in self.hidden:
            features = self.dropout(layer(features))
        return rms_normalize(features)

    def get_config(self) -> Config:
        """Returns the arguments to construct this generator again."""
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation, "dropout": self.dropout.rate}
