"""The HyperLSTM of the paper."""

from typing import Any

from keras_hyper.rnn.hyper_cell import HYPER_ARGUMENTS, HyperCell
from keras_hyper.rnn.lstm import LSTM
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer
from keras_hyper.utils.arguments import passed


@serializable
class HyperLSTMCell(HyperCell, LSTM):
    r"""One step of an LSTM whose weights a smaller LSTM changes at every step.

    The hyper cell is an LSTM of `hyper_units` that sees `[h; x]` and takes its step
    first: `h^'` is its *new* output. For each gate `y` of `i, f, g, o`:

    `z_h = E_h h^' + e_h`, `z_x = E_x h^' + e_x`, `z_b = E_b h^'` (equation 11),
    `y = LN(d_h (W_h h) + d_x (W_x x) + S_b z_b + b_0)` with `d_h = S_h z_h` and
    `d_x = S_x z_x` (equation 12), then
    `c' = s(f + 1) c + s(i) Drop(tanh(g))`, `h' = s(o) tanh(LN(c'))` (equation 13).

    Layer normalization is optional, in both cells or in neither. The carried `c` is never
    normalized. The forget bias is added after the normalization. The gates are in Keras's
    order. The paper's equations use `h^` before the step in the embeddings. Its text and code
    use `h^` after the step, as this class does.

    Args:
        units: Integer, width of the output.
        hyper_units: Integer, width of the hyper cell.
        embedding_dim: Integer, width of each of the twelve embeddings.
        layer_norm: Whether both cells have layer normalization.
        recurrent_dropout: Fraction of the candidate that is dropped, with a new mask at every
            step. Keras's argument of this name drops elements of `h`, with one mask.
        hyper_recurrent_dropout: The same for the hyper cell.
        initialization: `"paper"`: orthogonal matrices for each gate, `E_h` and `E_x` zero, `e`
            one, and a constant `S` such that every scale starts at 0.1. `"supercell"`: Glorot
            uniform input weights, as in the author's code. `"distinct"`: `"paper"` with a
            random `S`. With a constant `S`, the elements of an embedding stay equal.
        activation: Activation function of candidate and output, in both cells.
        recurrent_activation: Activation function of the gates, in both cells.
        use_bias: Whether there are biases, stored and generated.
        kernel_initializer: Initializer of `W_x`. None: chosen by `initialization`.
        recurrent_initializer: Initializer of `W_h`. None for orthogonal gates.
        bias_initializer: Initializer of `b_0`.
        unit_forget_bias: Whether 1 is added to the forget gate of both cells. The 1 is a
            constant of the equations, not a part of the initial `b_0`.
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
        states: `[h, c, h^, c^]`, two of shape `(batch, units)`, then two of
            shape `(batch, hyper_units)`.
        training: Boolean, whether to apply dropout.

    Output shape:
        `(batch, units)`, and the four new states.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.
        NotImplementedError: If dropout is applied on JAX. Use the layer `HyperLSTM` instead.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, appendix A.2.2 and A.2.3.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperLSTMCell
        >>> layer = keras.layers.RNN(HyperLSTMCell(8, hyper_units=4, layer_norm=True))
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 8)
    """

    argument_names = (*LSTM.argument_names, *HYPER_ARGUMENTS, "hyper_recurrent_dropout")

    def __init__(
        self,
        units: int,
        hyper_units: int = 128,
        embedding_dim: int = 4,
        layer_norm: bool = False,
        recurrent_dropout: float = 0.0,
        hyper_recurrent_dropout: float = 0.0,
        initialization: str = "paper",
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        recurrent_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        unit_forget_bias: bool = True,
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
