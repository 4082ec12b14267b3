"""Layer normalization of each gate by itself."""

from typing import Any

import keras
from keras import ops

from keras_hyper.ops import at_least_float32
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.precision import PolicyLayer


@serializable
class GateNormalization(PolicyLayer):
    r"""Layer normalization of `gates` groups of numbers, each by itself.

    `y = gamma (x - mean) / sqrt(var + epsilon) + beta` with mean and (biased)
    variance over one gate of one sample, and a `gamma` and `beta` for each number.
    Ba, Kiros & Hinton, "Layer Normalization", 2016, as Ha, Dai & Le use it.

    Args:
        gates: Integer, how many gates the last axis holds.
        epsilon: Added to the variance. With the paper's initialization the first
            pre-activations have a variance of 1e-5, so this value matters. The author's
            code uses 1e-3, too.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, gates: int, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gates = gates
        self.epsilon = epsilon
        self.gamma: keras.Variable = None
        self.beta: keras.Variable = None

    def build(self, input_shape: Shape) -> None:
        """Creates `gamma` and `beta`, each of the width of the inputs."""
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="beta")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the normalized gates."""
        width = inputs.shape[-1] // self.gates
        # Half precision would round the mean. Sums, because Keras's means round
        # float64 to float32 on some backends.
        x = ops.reshape(ops.cast(inputs, at_least_float32(inputs.dtype)), (-1, self.gates, width))
        x = x - ops.sum(x, axis=-1, keepdims=True) / width
        variance = ops.sum(ops.square(x), axis=-1, keepdims=True) / width
        x = ops.reshape(x * ops.rsqrt(variance + self.epsilon), (-1, self.gates * width))
        gamma, beta = (ops.cast(v, inputs.dtype) for v in (self.gamma, self.beta))
        return ops.cast(x, inputs.dtype) * gamma + beta

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        return {**super().get_config(), "gates": self.gates, "epsilon": self.epsilon}
