"""Cells with gates and a candidate, and the LSTM among them."""

from typing import Any

import keras
from keras import ops

from keras_hyper.rnn.cell import RecurrentCell
from keras_hyper.rnn.gate_norm import GateNormalization
from keras_hyper.typing import Activation, Config, Tensor
from keras_hyper.utils.checks import rate


class GatedCell(RecurrentCell):
    """Base of the LSTM and the GRU.

    Args:
        units: Integer, width of the output.
        recurrent_activation: Activation function of the gates.
        recurrent_dropout: Fraction of the candidate that is dropped at each step.
        seed: Optional integer, for the same dropout again.
        **kwargs: Arguments of `RecurrentCell`.
    """

    def __init__(
        self,
        units: int,
        *,
        recurrent_activation: Activation,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.recurrent_dropout = rate("recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_config(self) -> Config:
        """Returns the arguments to construct this cell again."""
        config = {
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}


class LSTM(GatedCell):
    """An LSTM with or without layer normalization.

    `c' = s(f + 1) c + s(i) drop tanh(g)` and `h' = s(o) tanh(LN(c'))`, where i, f, g and o
    are normalized, too. The carried `c'` is not.

    Args:
        units: Integer, width of the output.
        layer_norm: Whether there is layer normalization.
        unit_forget_bias: Whether 1 is added to the forget gate, after the normalization.
        **kwargs: Arguments of `GatedCell`.
    """

    gate_names = ("input", "forget", "candidate", "output")
    main_state_names = ("h", "c")

    def __init__(
        self, units: int, *, layer_norm: bool, unit_forget_bias: bool, **kwargs: Any
    ) -> None:
        super().__init__(units, **kwargs)
        self.layer_norm = bool(layer_norm)
        self.unit_forget_bias = bool(unit_forget_bias)
        # The first normalizes the gates, the second `c` inside tanh.
        self.gate_norm: GateNormalization | None = None
        self.carry_norm: GateNormalization | None = None

    def build_parts(self, width: int) -> None:
        """Creates the weights of the cells, and of their normalizations."""
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
        gates, carry = inputs + hidden, states[1]
        if self.layer_norm:
            gates = ops.cast(getattr(self, f"{part}gate_norm")(gates), gates.dtype)
        i, f, g, o = ops.split(gates, 4, axis=-1)
        if self.unit_forget_bias:
            f = f + 1.0
        candidate = self.activation(g) if drop is None else drop * self.activation(g)
        carry = self.recurrent_activation(f) * carry + self.recurrent_activation(i) * candidate
        inside = carry
        if self.layer_norm:
            inside = ops.cast(getattr(self, f"{part}carry_norm")(carry), carry.dtype)
        return [self.recurrent_activation(o) * self.activation(inside), carry]

    def get_config(self) -> Config:
        """Returns the arguments to construct this cell again."""
        config = {"layer_norm": self.layer_norm, "unit_forget_bias": self.unit_forget_bias}
        return {**super().get_config(), **config}
