"""A GRU with the construction of the HyperLSTM."""

from typing import Any

from keras import ops

from keras_hyper.rnn.cell import GATED_ARGUMENTS
from keras_hyper.rnn.hyper_cell import HyperCell
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Tensor
from keras_hyper.utils.arguments import passed


@serializable
class HyperGRUCell(HyperCell):
    r"""One step of a GRU whose weights a smaller GRU changes at every step.

    This applies the paper's construction of the HyperLSTM to a GRU. The hyper cell is a GRU of
    `hyper_units` that sees `[h; x]` and takes its step first: `h^'` is its *new* output.
    For each gate `y` of `z, r, g`:
    `z_h = E_h h^' + e_h`, `z_x = E_x h^' + e_x`, `z_b = E_b h^'`, and
    `y_x = d_x (W_x x) + S_b z_b + b_0`, `y_h = d_h (W_h h)` with `d_h = S_h z_h` and
    `d_x = S_x z_x`. Then
    `h' = s(z_x + z_h) h + (1 - s(z_x + z_h)) Drop(tanh(g_x + s(r_x + r_h) g_h))`.
    This is Keras's `GRU(reset_after=True)` without its second bias, with gates in Keras's order.

    Args:
        units: Integer, width of the output.
        hyper_units: Integer, width of the hyper cell.
        embedding_dim: Integer, width of each of the nine embeddings.
        recurrent_dropout: Fraction of the candidate that is dropped. See `HyperLSTMCell`.
        hyper_recurrent_dropout: The same for the hyper cell.
        initialization: `"paper"`, `"supercell"` or `"distinct"`. See `HyperLSTMCell`.
        activation: Activation function of the candidate, in both cells.
        recurrent_activation: Activation function of the gates, in both cells.
        use_bias: Whether there are biases, stored and generated.
        kernel_initializer: Initializer of `W_x`. None: chosen by `initialization`.
        recurrent_initializer: Initializer of `W_h`. None for orthogonal gates.
        bias_initializer: Initializer of `b_0`.
        kernel_regularizer: Regularizer of `W_x`.
        recurrent_regularizer: Regularizer of `W_h`.
        bias_regularizer: Regularizer of `b_0`.
        kernel_constraint: Constraint of `W_x`.
        recurrent_constraint: Constraint of `W_h`.
        bias_constraint: Constraint of `b_0`.
        seed: Optional integer, random seed of the dropout.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, features)`.
        states: `[h, h^]`, of shapes `(batch, units)` and `(batch, hyper_units)`.
        training: Boolean, whether to apply dropout.

    Output shape:
        `(batch, units)`, and the two new states.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.
        NotImplementedError: If dropout is applied on JAX. Use the layer `HyperGRU` instead.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, appendix A.2.2, for the construction;
        Cho et al., 2014, for the GRU.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperGRUCell
        >>> layer = keras.layers.RNN(HyperGRUCell(8, hyper_units=4))
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 8)
    """

    argument_names = (*HyperCell.argument_names, *GATED_ARGUMENTS, "hyper_recurrent_dropout")
    gate_names = ("update", "reset", "candidate")
    main_state_names = ("h",)

    def __init__(
        self,
        units: int,
        hyper_units: int = 128,
        embedding_dim: int = 4,
        recurrent_dropout: float = 0.0,
        hyper_recurrent_dropout: float = 0.0,
        initialization: str = "paper",
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        recurrent_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**passed(locals()))

    def step(
        self, inputs: Tensor, hidden: Tensor, drop: Tensor, *states: Tensor, part: str = ""
    ) -> list[Tensor]:
        """Returns `[h']`."""
        inputs_z, inputs_r, inputs_g = ops.split(inputs, 3, axis=-1)
        hidden_z, hidden_r, hidden_g = ops.split(hidden, 3, axis=-1)
        z = self.recurrent_activation(inputs_z + hidden_z)
        r = self.recurrent_activation(inputs_r + hidden_r)
        candidate = self.activation(inputs_g + r * hidden_g)
        if drop is not None:
            candidate = drop * candidate
        return [z * states[0] + (1 - z) * candidate]
