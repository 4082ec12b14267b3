"""The recurrent layers of Ha, Dai & Le, "HyperNetworks", ICLR 2017."""

from keras_hyper.rnn.hyper_gru_cell import HyperGRUCell
from keras_hyper.rnn.hyper_lstm_cell import HyperLSTMCell
from keras_hyper.rnn.hyper_simple_rnn_cell import HyperSimpleRNNCell
from keras_hyper.rnn.layer_norm_lstm_cell import LayerNormLSTMCell
from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.saving import serializable


@serializable
class HyperSimpleRNN(RecurrentLayer):
    r"""A simple RNN whose weights a smaller one changes at every step.

    Equivalent to `keras.layers.RNN(HyperSimpleRNNCell(...))`, with dropout of the inputs. In
    training, the layer projects all inputs before the loop.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the input features that is dropped, with one mask for all steps.
        seed: Optional integer, random seed of the dropout.
        use_cudnn: `"auto"` or False. There is no cuDNN kernel for this cell.
        **kwargs: Other arguments of `HyperSimpleRNNCell`, `keras.layers.RNN` and
            `keras.layers.Layer`, such as `return_sequences` and `stateful`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state, mask, training: See `keras.layers.SimpleRNN`.

    Output shape:
        `(batch, units)` or `(batch, steps, units)`, and the last states with `return_state`.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.

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

    Equivalent to `keras.layers.RNN(HyperLSTMCell(...))`, with dropout of the inputs. Before
    the loop, the layer draws all dropout masks and, in training, projects all inputs.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the input features that is dropped, with one mask for all steps.
        seed: Optional integer, random seed of the dropout.
        use_cudnn: `"auto"` or False. There is no cuDNN kernel for this cell.
        **kwargs: Other arguments of `HyperLSTMCell`, `keras.layers.RNN` and
            `keras.layers.Layer`, such as `return_sequences` and `stateful`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state, mask, training: See `keras.layers.LSTM`.

    Output shape:
        `(batch, units)` or `(batch, steps, units)`, and the last states with `return_state`.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.

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

    Equivalent to `keras.layers.RNN(HyperGRUCell(...))`, with dropout of the inputs. Before
    the loop, the layer draws all dropout masks and, in training, projects all inputs.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the input features that is dropped, with one mask for all steps.
        seed: Optional integer, random seed of the dropout.
        use_cudnn: `"auto"` or False. There is no cuDNN kernel for this cell.
        **kwargs: Other arguments of `HyperGRUCell`, `keras.layers.RNN` and
            `keras.layers.Layer`, such as `return_sequences` and `stateful`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state, mask, training: See `keras.layers.GRU`.

    Output shape:
        `(batch, units)` or `(batch, steps, units)`, and the last states with `return_state`.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.

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
    r"""An LSTM with layer normalization, the baseline of the paper.

    Equivalent to `keras.layers.RNN(LayerNormLSTMCell(...))`, with dropout of the inputs. Before
    the loop, the layer draws all dropout masks and, in training, projects all inputs.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the input features that is dropped, with one mask for all steps.
        seed: Optional integer, random seed of the dropout.
        use_cudnn: `"auto"` or False. There is no cuDNN kernel for this cell.
        **kwargs: Other arguments of `LayerNormLSTMCell`, `keras.layers.RNN` and
            `keras.layers.Layer`, such as `return_sequences` and `stateful`.

    Call arguments:
        sequences: Tensor of shape `(batch, steps, features)`.
        initial_state, mask, training: See `keras.layers.LSTM`.

    Output shape:
        `(batch, units)` or `(batch, steps, units)`, and the last states with `return_state`.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.

    Examples:
        >>> import keras
        >>> from keras_hyper import LayerNormLSTM
        >>> layer = LayerNormLSTM(8, return_sequences=True)
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 5, 8)
    """

    cell_class = LayerNormLSTMCell
