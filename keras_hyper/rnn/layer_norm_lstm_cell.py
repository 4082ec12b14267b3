"""The LSTM with layer normalization and recurrent dropout."""

from typing import Any

from keras_hyper.rnn.lstm import LSTM
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer
from keras_hyper.utils.arguments import passed


@serializable
class LayerNormLSTMCell(LSTM):
    r"""One step of an LSTM with layer normalization, the baseline of the paper.

    `(i, f, g, o) = LN(W_x x + W_h h + b)`, where each gate is normalized separately,
    `c' = s(f + 1) c + s(i) Drop(tanh(g))`, `h' = s(o) tanh(LN(c'))`.

    The carried `c'` is not normalized. The forget bias of 1 is added after the normalization.
    The gates are in Keras's order.

    Args:
        units: Integer, width of the output.
        activation: Activation function of the candidate and of the output.
        recurrent_activation: Activation function of the gates.
        use_bias: Whether there is a `b`. None: only without normalization, which has a
            `beta`. This matches the parameter counts in the paper.
        kernel_initializer: Initializer of `W_x`. None for orthogonal gates.
        recurrent_initializer: Initializer of `W_h`. None for orthogonal gates.
        bias_initializer: Initializer of `b`.
        unit_forget_bias: Whether 1 is added to the forget gate. The 1 is a constant of the
            equations. As a part of the initial `b`, it would be normalized away.
        kernel_regularizer: Regularizer of `W_x`.
        recurrent_regularizer: Regularizer of `W_h`.
        bias_regularizer: Regularizer of `b`.
        kernel_constraint: Constraint of `W_x`.
        recurrent_constraint: Constraint of `W_h`.
        bias_constraint: Constraint of `b`.
        layer_norm: Whether there is layer normalization. If False, this is an LSTM with the
            recurrent dropout of Semeniuta et al.
        recurrent_dropout: Fraction of the candidate that is dropped, with a new mask at every
            step. Keras's argument of this name drops elements of `h`, with one mask.
        seed: Optional integer, random seed of the dropout.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, features)`.
        states: `[h, c]`, each of shape `(batch, units)`.
        training: Boolean, whether to apply dropout.

    Output shape:
        `(batch, units)`, and the two new states.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.
        NotImplementedError: If dropout is applied on JAX. Use the layer `LayerNormLSTM` instead.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, appendix A.3.3;
        Ba, Kiros & Hinton, "Layer Normalization", 2016.

    Examples:
        >>> import keras
        >>> from keras_hyper import LayerNormLSTMCell
        >>> layer = keras.layers.RNN(LayerNormLSTMCell(8))
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 8)
    """

    def __init__(
        self,
        units: int,
        activation: Activation = "tanh",
        recurrent_activation: Activation = "sigmoid",
        use_bias: bool | None = None,
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
        layer_norm: bool = True,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        use_bias = not layer_norm if use_bias is None else use_bias
        super().__init__(**passed(locals()))
