"""Recurrent networks whose weights change at every step."""

from keras_hyper.rnn.hyper_gru_cell import HyperGRUCell as HyperGRUCell
from keras_hyper.rnn.hyper_lstm_cell import HyperLSTMCell as HyperLSTMCell
from keras_hyper.rnn.hyper_simple_rnn_cell import HyperSimpleRNNCell as HyperSimpleRNNCell
from keras_hyper.rnn.layer_norm_lstm_cell import LayerNormLSTMCell as LayerNormLSTMCell
from keras_hyper.rnn.layers import HyperGRU as HyperGRU
from keras_hyper.rnn.layers import HyperLSTM as HyperLSTM
from keras_hyper.rnn.layers import HyperSimpleRNN as HyperSimpleRNN
from keras_hyper.rnn.layers import LayerNormLSTM as LayerNormLSTM
