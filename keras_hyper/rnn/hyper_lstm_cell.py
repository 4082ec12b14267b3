"""The HyperLSTM of the paper."""

from collections.abc import Sequence
from typing import Any

from keras_hyper.rnn.gate_norm import GateNormalization
from keras_hyper.rnn.hyper_cell import GatedHyperCell
from keras_hyper.rnn.steps import lstm_step
from keras_hyper.saving import serializable
from keras_hyper.utils.freezing import freeze_what_is_new


@serializable
class HyperLSTMCell(GatedHyperCell):
    r"""One step of an LSTM whose weights a smaller LSTM changes at every step.

    The hyper cell is an LSTM of `hyper_units` that sees `[h; x]` and takes its step
    first: `h^'` is its *new* output. For each gate `y` of `i, f, g, o`:

    `z_h = E_h h^' + e_h`, `z_x = E_x h^' + e_x`, `z_b = E_b h^'` (equation 11),
    `y = LN(d_h (W_h h) + d_x (W_x x) + S_b z_b + b_0)` with `d_h = S_h z_h` and
    `d_x = S_x z_x` (equation 12), then
    `c' = s(f + 1) c + s(i) Drop(tanh(g))`, `h' = s(o) tanh(LN(c'))` (equation 13).

    The layer normalisation is optional, and there in both cells or in none. The
    carried `c` is never normalised, and the forget bias is added after it. The
    gates are in Keras's order. The paper prints the embeddings with the state
    `h^` before the step, and describes and computes them with that after it.

    Args:
        units: Integer, width of the output.
        hyper_units: Integer, width of the hyper cell.
        embedding_dim: Integer, width of each of the twelve embeddings.
        layer_norm: Whether both cells have layer normalisation.
        recurrent_dropout: Fraction of the numbers of `tanh(g)` that is dropped,
            others at every step. Not what Keras calls by this name: there, numbers
            of `h` are dropped, the same ones at every step.
        hyper_recurrent_dropout: The same in the hyper cell.
        initialization: `"paper"`: orthogonal `W_x` and `W_h` for each gate, all
            weights of the hyper cell orthogonal, `E_h` and `E_x` zero, `e` one, and
            `S` such that every scale is 0.1 at the start. `"supercell"`: as the
            author's code, with glorot uniform weights of the inputs. `"distinct"`: as
            `"paper"`, with a random `S` for the same scales, so that the numbers of an
            embedding do not stay equal.
        activation: Activation function of candidate and output, in both cells.
        recurrent_activation: Activation function of the gates, in both cells.
        use_bias: Whether there are biases, stored and generated.
        kernel_initializer: Initializer of `W_x`. None for that of `initialization`.
        recurrent_initializer: Initializer of `W_h`. None for orthogonal gates.
        bias_initializer: Initializer of `b_0`.
        unit_forget_bias: Whether 1 is added to the forget gate of both cells. It is
            a constant of the equations and not the start of `b_0`.
        kernel_regularizer: Regularizer of `W_x`.
        recurrent_regularizer: Regularizer of `W_h`.
        bias_regularizer: Regularizer of `b_0`.
        kernel_constraint: Constraint of `W_x`.
        recurrent_constraint: Constraint of `W_h`.
        bias_constraint: Constraint of `b_0`.
        seed: Optional integer, for the same dropout again.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, features)`.
        states: `[h, c, h^, c^]`, two of shape `(batch, units)`, then two of
            shape `(batch, hyper_units)`.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, and the four new states.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.
        NotImplementedError: In training with dropout on JAX, which needs the layer
            `HyperLSTM`.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, appendix A.2.2 and A.2.3.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperLSTMCell
        >>> layer = keras.layers.RNN(HyperLSTMCell(8, hyper_units=4, layer_norm=True))
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 8)
    """

    gates = 4
    gate_names = ("i", "f", "g", "o")
    main_state_names = ("h", "c")
    main_states = 2

    def __init__(
        self,
        units: int,
        hyper_units: int = 128,
        embedding_dim: int = 4,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        hyper_recurrent_dropout: float = 0.0,
        initialization: str = "paper",
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
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
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            hyper_units=hyper_units,
            embedding_dim=embedding_dim,
            initialization=initialization,
            activation=activation,
            recurrent_activation=recurrent_activation,
            recurrent_dropout=recurrent_dropout,
            hyper_recurrent_dropout=hyper_recurrent_dropout,
            seed=seed,
            use_bias=use_bias,
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
        self.layer_norm = bool(layer_norm)
        self.unit_forget_bias = bool(unit_forget_bias)
        self.gate_norm = self._norm(4, "gate_norm")
        self.carry_norm = self._norm(1, "carry_norm")
        self.hyper_gate_norm = self._norm(4, "hyper_gate_norm")
        self.hyper_carry_norm = self._norm(1, "hyper_carry_norm")

    def _norm(self, gates: int, name: str) -> Any:
        if not self.layer_norm:
            return None
        return GateNormalization(gates, dtype=self.dtype_policy, name=name)

    def build(self, input_shape: Any) -> None:
        """Creates the weights for one step of known width."""
        super().build(input_shape)
        if self.layer_norm:
            self.gate_norm.build((None, 4 * self.units))
            self.carry_norm.build((None, self.units))
            self.hyper_gate_norm.build((None, 4 * self.hyper_units))
            self.hyper_carry_norm.build((None, self.hyper_units))
        freeze_what_is_new(self)

    def step(
        self, inputs: Any, hidden: Any, states: Sequence[Any], drop: Any, hyper: bool
    ) -> list[Any]:
        """Returns `[h', c']` of the main or the hyper cell from pre-activations."""
        return lstm_step(
            inputs,
            hidden,
            states[1],
            self.activation,
            self.recurrent_activation,
            float(self.unit_forget_bias),
            self.hyper_gate_norm if hyper else self.gate_norm,
            self.hyper_carry_norm if hyper else self.carry_norm,
            drop,
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this cell again."""
        config = {
            "layer_norm": self.layer_norm,
            "unit_forget_bias": self.unit_forget_bias,
        }
        return {**super().get_config(), **config}
