"""A GRU with the construction of the HyperLSTM."""

from collections.abc import Sequence
from typing import Any

from keras_hyper.rnn.hyper_cell import GatedHyperCell
from keras_hyper.rnn.steps import gru_step
from keras_hyper.saving import serializable


@serializable
class HyperGRUCell(GatedHyperCell):
    r"""One step of a GRU whose weights a smaller GRU changes at every step.

    The paper's construction of the HyperLSTM, carried over. The hyper cell is a GRU
    of `hyper_units` that sees `[h; x]` and takes its step first: `h^'` is its *new*
    output. For each gate `y` of `z, r, g`:

    `z_h = E_h h^' + e_h`, `z_x = E_x h^' + e_x`, `z_b = E_b h^'`, and
    `y_x = d_x (W_x x) + S_b z_b + b_0`, `y_h = d_h (W_h h)` with `d_h = S_h z_h` and
    `d_x = S_x z_x`. Then
    `h' = s(z_x + z_h) h + (1 - s(z_x + z_h)) Drop(tanh(g_x + s(r_x + r_h) g_h))`.

    That is Keras's `GRU(reset_after=True)`, without its second bias. The gates are
    in Keras's order.

    Args:
        units: Integer, width of the output.
        hyper_units: Integer, width of the hyper cell.
        embedding_dim: Integer, width of each of the nine embeddings.
        recurrent_dropout: Fraction of the numbers of the candidate that is dropped,
            others at every step. Not what Keras calls by this name: there, numbers
            of `h` are dropped, the same ones at every step.
        hyper_recurrent_dropout: The same in the hyper cell.
        initialization: `"paper"`: orthogonal `W_x` and `W_h` for each gate, all
            weights of the hyper cell orthogonal, `E_h` and `E_x` zero, `e` one, and
            `S` such that every scale is 0.1 at the start. `"supercell"`: as the
            author's code, with glorot uniform weights of the inputs. `"distinct"`: as
            `"paper"`, with a random `S` for the same scales, so that the numbers of an
            embedding do not stay equal.
        activation: Activation function of the candidate, in both cells.
        recurrent_activation: Activation function of the gates, in both cells.
        use_bias: Whether there are biases, stored and generated.
        kernel_initializer: Initializer of `W_x`. None for that of `initialization`.
        recurrent_initializer: Initializer of `W_h`. None for orthogonal gates.
        bias_initializer: Initializer of `b_0`.
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
        states: `[h, h^]`, of shapes `(batch, units)` and `(batch, hyper_units)`.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, and the two new states.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.
        NotImplementedError: In training with dropout on JAX, which needs the layer
            `HyperGRU`.

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

    gates = 3
    gate_names = ("z", "r", "g")
    main_state_names = ("h",)
    main_states = 1

    def __init__(
        self,
        units: int,
        hyper_units: int = 128,
        embedding_dim: int = 4,
        recurrent_dropout: float = 0.0,
        hyper_recurrent_dropout: float = 0.0,
        initialization: str = "paper",
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = None,
        recurrent_initializer: Any = None,
        bias_initializer: Any = "zeros",
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

    def step(
        self, inputs: Any, hidden: Any, states: Sequence[Any], drop: Any, hyper: bool
    ) -> list[Any]:
        """Returns `[h']` of the main or the hyper cell from pre-activations."""
        return gru_step(inputs, hidden, states[0], self.activation, self.recurrent_activation, drop)
