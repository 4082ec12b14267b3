"""The base of the LSTM cells, and layer normalization of gates."""

from typing import Any

import keras
from keras import ops

from keras_hyper.ops import at_least_float32
from keras_hyper.rnn.cell import GATED_ARGUMENTS, RecurrentCell
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.precision import PolicyLayer

# Added to variances, as in the author's code. It matters: with the paper's initialization, the
# first pre-activations have a variance of 1e-5.
EPSILON = 1e-3


@serializable
class GateNormalization(PolicyLayer):
    r"""Layer normalization of each gate (Ba, Kiros & Hinton, 2016; Ha, Dai & Le, 2017).

    `y = gamma (x - mean) / sqrt(var + epsilon) + beta` with mean and (biased) variance over
    one gate of one sample, and a `gamma` and `beta` for each element.

    Args:
        gates: Integer, number of gates on the last axis.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, gates: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gates = gates
        self.gamma: keras.Variable = None
        self.beta: keras.Variable = None

    def build(self, input_shape: Shape) -> None:
        """Creates `gamma` and `beta`."""
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="beta")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the normalized gates."""
        width = inputs.shape[-1] // self.gates
        # Half precision would round the sums. `ops.mean` is not used because it rounds float64 to
        # float32 on some backends.
        x = ops.reshape(ops.cast(inputs, at_least_float32(inputs.dtype)), (-1, self.gates, width))
        x = x - ops.sum(x, axis=-1, keepdims=True) / width
        variance = ops.sum(ops.square(x), axis=-1, keepdims=True) / width
        x = ops.reshape(x * ops.rsqrt(variance + EPSILON), (-1, self.gates * width))
        gamma, beta = (ops.cast(v, inputs.dtype) for v in (self.gamma, self.beta))
        return ops.cast(x, inputs.dtype) * gamma + beta

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        return {**super().get_config(), "gates": self.gates}


class LSTM(RecurrentCell):
    """Base of the LSTM cells, with or without layer normalization.

    `c' = s(f + 1) c + s(i) drop tanh(g)` and `h' = s(o) tanh(LN(c'))`. The gates i, f, g and o
    are normalized as well. The carried `c'` is not.

    Attributes:
        gate_norm: Normalization of the gates, or None.
        carry_norm: Normalization of `c` inside tanh, or None.
    """

    argument_names = (
        *RecurrentCell.argument_names,
        *GATED_ARGUMENTS,
        "layer_norm",
        "unit_forget_bias",
    )
    gate_names = ("input", "forget", "candidate", "output")
    main_state_names = ("h", "c")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # On PyTorch, a class attribute would hide a submodule of the same name.
        for part in self.parts:
            setattr(self, f"{part}gate_norm", None)
            setattr(self, f"{part}carry_norm", None)

    def build_parts(self, width: int) -> None:
        """Creates the weights of the cells and of their normalizations."""
        super().build_parts(width)
        if not self.layer_norm:
            return
        for part, units in self.parts.items():
            for name, gates in (("gate_norm", self.gates), ("carry_norm", 1)):
                norm = GateNormalization(gates, dtype=self.dtype_policy, name=part + name)
                norm.build((None, gates * units))
                setattr(self, part + name, norm)

    def step(
        self, inputs: Tensor, hidden: Tensor, drop: Tensor, *states: Tensor, part: str = ""
    ) -> list[Tensor]:
        """Returns `[h', c']`."""
        gates, carry = self._normalized(f"{part}gate_norm", inputs + hidden), states[1]
        i, f, g, o = ops.split(gates, 4, axis=-1)
        if self.unit_forget_bias:
            f = f + 1.0
        candidate = self.activation(g) if drop is None else drop * self.activation(g)
        carry = self.recurrent_activation(f) * carry + self.recurrent_activation(i) * candidate
        inside = self._normalized(f"{part}carry_norm", carry)
        return [self.recurrent_activation(o) * self.activation(inside), carry]

    def _normalized(self, name: str, x: Tensor) -> Tensor:
        return ops.cast(getattr(self, name)(x), x.dtype) if self.layer_norm else x
