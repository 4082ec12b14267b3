"""The LSTM with layer normalisation and recurrent dropout."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.rnn.cell import Fuse, Multiply, RecurrentCell
from keras_hyper.rnn.gate_norm import GateNormalization
from keras_hyper.rnn.steps import lstm_step
from keras_hyper.saving import serializable
from keras_hyper.utils.checks import rate
from keras_hyper.utils.freezing import freeze_what_is_new


@serializable
class LayerNormLSTMCell(RecurrentCell):
    r"""One step of an LSTM with layer normalisation, the baseline of the paper.

    `(i, f, g, o) = LN(W_x x + W_h h + b)`, each gate normalised by itself,
    `c' = s(f + 1) c + s(i) Drop(tanh(g))`, `h' = s(o) tanh(LN(c'))`.

    The carried `c'` is not normalised. The forget bias of 1 is added after the
    normalisation. The gates are in Keras's order.

    Args:
        units: Integer, width of the output.
        activation: Activation function of the candidate and of the output.
        recurrent_activation: Activation function of the gates.
        use_bias: Whether there is a `b`. None: only without normalisation, which
            has a `beta`. The sizes of this baseline in the paper fit only so.
        kernel_initializer: Initializer of `W_x`. None for an orthogonal matrix for
            each gate.
        recurrent_initializer: Initializer of `W_h`. None for the same.
        bias_initializer: Initializer of `b`.
        unit_forget_bias: Whether 1 is added to the forget gate. It is a constant
            of the equations and not the start of `b`, which is normalised away.
        kernel_regularizer: Regularizer of `W_x`.
        recurrent_regularizer: Regularizer of `W_h`.
        bias_regularizer: Regularizer of `b`.
        kernel_constraint: Constraint of `W_x`.
        recurrent_constraint: Constraint of `W_h`.
        bias_constraint: Constraint of `b`.
        layer_norm: Whether there is layer normalisation. Without it, this is an LSTM
            with the recurrent dropout of Semeniuta et al.
        recurrent_dropout: Fraction of the numbers of `tanh(g)` that is dropped,
            others at every step. Not what Keras calls by this name: there, numbers
            of `h` are dropped, the same ones at every step.
        seed: Optional integer, for the same dropout again.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, features)`.
        states: `[h, c]`, each of shape `(batch, units)`.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, and the two new states.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.
        NotImplementedError: In training with dropout on JAX, which needs the layer
            `LayerNormLSTM`.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, appendix A.3.3; Ba, Kiros &
        Hinton, "Layer Normalization", 2016.

    Examples:
        >>> import keras
        >>> from keras_hyper import LayerNormLSTMCell
        >>> layer = keras.layers.RNN(LayerNormLSTMCell(8))
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 8)
    """

    gates = 4
    gate_names = ("i", "f", "g", "o")
    main_state_names = ("h", "c")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool | None = None,
        kernel_initializer: Any = None,
        recurrent_initializer: Any = None,
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        layer_norm: bool = True,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation=activation,
            use_bias=not layer_norm if use_bias is None else use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.unit_forget_bias = bool(unit_forget_bias)
        self.layer_norm = bool(layer_norm)
        self.recurrent_dropout = rate("recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.gate_norm: Any = None
        self.carry_norm: Any = None
        if self.layer_norm:
            self.gate_norm = GateNormalization(4, dtype=self.dtype_policy, name="gate_norm")
            self.carry_norm = GateNormalization(1, dtype=self.dtype_policy, name="carry_norm")
        self.state_size = [self.units, self.units]

    def build(self, input_shape: Any) -> None:
        """Creates the weights for one step of known width."""
        self.build_weights(input_shape)
        if self.layer_norm:
            self.gate_norm.build((None, 4 * self.units))
            self.carry_norm.build((None, self.units))
        freeze_what_is_new(self)

    @property
    def dropouts(self) -> list[tuple[float, int]]:
        """Rate and width of what `advance` drops."""
        return [(self.recurrent_dropout, self.units)]

    def project(self, inputs: Any, multiply: Multiply) -> list[Any]:
        """Returns what the inputs contribute to the gates, one step or many."""
        projected = multiply(inputs, "kernel")
        return [projected + ops.cast(self.bias, projected.dtype) if self.use_bias else projected]

    def transition(
        self,
        projected: Sequence[Any],
        states: Sequence[Any],
        drops: Sequence[Any],
        multiply: Multiply,
        fuse: Fuse,
    ) -> list[Any]:
        """Returns `[h', c']`."""
        hidden, carry = states
        return fuse(self.step, *projected, multiply(hidden, "recurrent_kernel"), carry, *drops)

    def step(self, inputs: Any, hidden: Any, carry: Any, drop: Any) -> list[Any]:
        """Returns `[h', c']` from pre-activations."""
        return lstm_step(
            inputs,
            hidden,
            carry,
            self.activation,
            self.recurrent_activation,
            float(self.unit_forget_bias),
            self.gate_norm,
            self.carry_norm,
            drop,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this cell again."""
        config = {
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "unit_forget_bias": self.unit_forget_bias,
            "layer_norm": self.layer_norm,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}
