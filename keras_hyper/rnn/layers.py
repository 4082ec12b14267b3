"""The recurrent layers."""

from keras_hyper.rnn.hyper_gru_cell import HyperGRUCell
from keras_hyper.rnn.hyper_lstm_cell import HyperLSTMCell
from keras_hyper.rnn.hyper_simple_rnn_cell import HyperSimpleRNNCell
from keras_hyper.rnn.layer_norm_lstm_cell import LayerNormLSTMCell
from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.saving import serializable


@serializable
class HyperSimpleRNN(RecurrentLayer):
    r"""A simple RNN whose weights a smaller one changes at every step.

    The same mathematics and the same weights as `keras.layers.RNN(HyperSimpleRNNCell(...))`,
    with dropout of the inputs as well. In training, what depends on the inputs alone is
    computed for all steps at once.
    The equations are those of `HyperSimpleRNNCell`.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the features of the inputs that is dropped, the same
            ones at every step of a sequence, as in Keras's recurrent layers.
        seed: Optional integer, for the same dropout again.
        use_cudnn: `"auto"` or False: there is no cuDNN kernel of this cell.
        **kwargs: All other arguments of `HyperSimpleRNNCell`; `return_sequences`,
            `return_state`, `go_backwards`, `stateful`, `unroll` and
            `zero_output_for_mask`, as in `keras.layers.RNN`; and arguments of
            `keras.layers.Layer`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state: None, or the states to start with.
        mask: None, or Booleans of shape `(batch, steps)`: a step that is not True
            leaves every state as it was.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; and the
        last states with `return_state`.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperSimpleRNN
        >>> layer = HyperSimpleRNN(8, hyper_units=4, return_sequences=True)
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 5, 8)
    """

    cell_class = HyperSimpleRNNCell


@serializable
class HyperLSTM(RecurrentLayer):
    r"""An LSTM whose weights a smaller LSTM changes at every step.

    The same mathematics and the same weights as `keras.layers.RNN(HyperLSTMCell(...))`,
    with dropout of the inputs as well. In training, what depends on the inputs alone is
    computed for all steps at once, and dropout masks are drawn before the loop, so on JAX,
    too.
    The equations are those of `HyperLSTMCell`.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the features of the inputs that is dropped, the same
            ones at every step of a sequence, as in Keras's recurrent layers.
        seed: Optional integer, for the same dropout again.
        use_cudnn: `"auto"` or False: there is no cuDNN kernel of this cell.
        **kwargs: All other arguments of `HyperLSTMCell`; `return_sequences`,
            `return_state`, `go_backwards`, `stateful`, `unroll` and
            `zero_output_for_mask`, as in `keras.layers.RNN`; and arguments of
            `keras.layers.Layer`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state: None, or the states to start with.
        mask: None, or Booleans of shape `(batch, steps)`: a step that is not True
            leaves every state as it was.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; and the
        last states with `return_state`.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperLSTM
        >>> layer = HyperLSTM(8, hyper_units=4, return_sequences=True)
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 5, 8)
    """

    cell_class = HyperLSTMCell


@serializable
class HyperGRU(RecurrentLayer):
    r"""A GRU whose weights a smaller GRU changes at every step.

    The same mathematics and the same weights as `keras.layers.RNN(HyperGRUCell(...))`,
    with dropout of the inputs as well. In training, what depends on the inputs alone is
    computed for all steps at once, and dropout masks are drawn before the loop, so on JAX,
    too.
    The equations are those of `HyperGRUCell`.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the features of the inputs that is dropped, the same
            ones at every step of a sequence, as in Keras's recurrent layers.
        seed: Optional integer, for the same dropout again.
        use_cudnn: `"auto"` or False: there is no cuDNN kernel of this cell.
        **kwargs: All other arguments of `HyperGRUCell`; `return_sequences`,
            `return_state`, `go_backwards`, `stateful`, `unroll` and
            `zero_output_for_mask`, as in `keras.layers.RNN`; and arguments of
            `keras.layers.Layer`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state: None, or the states to start with.
        mask: None, or Booleans of shape `(batch, steps)`: a step that is not True
            leaves every state as it was.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; and the
        last states with `return_state`.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperGRU
        >>> layer = HyperGRU(8, hyper_units=4, return_sequences=True)
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 5, 8)
    """

    cell_class = HyperGRUCell


@serializable
class LayerNormLSTM(RecurrentLayer):
    r"""An LSTM with layer normalisation, the baseline of the paper.

    The same mathematics and the same weights as `keras.layers.RNN(LayerNormLSTMCell(...))`,
    with dropout of the inputs as well. In training, what depends on the inputs alone is
    computed for all steps at once, and dropout masks are drawn before the loop, so on JAX,
    too.
    The equations are those of `LayerNormLSTMCell`.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the features of the inputs that is dropped, the same
            ones at every step of a sequence, as in Keras's recurrent layers.
        seed: Optional integer, for the same dropout again.
        use_cudnn: `"auto"` or False: there is no cuDNN kernel of this cell.
        **kwargs: All other arguments of `LayerNormLSTMCell`; `return_sequences`,
            `return_state`, `go_backwards`, `stateful`, `unroll` and
            `zero_output_for_mask`, as in `keras.layers.RNN`; and arguments of
            `keras.layers.Layer`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state: None, or the states to start with.
        mask: None, or Booleans of shape `(batch, steps)`: a step that is not True
            leaves every state as it was.
        training: Boolean, whether to drop.

    Output shape:
        `(batch, units)`, or `(batch, steps, units)` with `return_sequences`; and the
        last states with `return_state`.

    Raises:
        ValueError: If an argument has no meaning, or inputs or states do not fit.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017.

    Examples:
        >>> import keras
        >>> from keras_hyper import LayerNormLSTM
        >>> layer = LayerNormLSTM(8, return_sequences=True)
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 5, 8)
    """

    cell_class = LayerNormLSTMCell
