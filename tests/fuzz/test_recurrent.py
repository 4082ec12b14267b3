"""Random configurations of every recurrent layer equal `keras.layers.RNN` with its cell."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzz.strategies import assert_close, examples, move, numbers
from helpers import outputs_and_gradients, to_numpy
from keras_hyper import (
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    HyperSimpleRNN,
    HyperSimpleRNNCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
)

CELLS = {
    HyperSimpleRNN: HyperSimpleRNNCell,
    HyperGRU: HyperGRUCell,
    HyperLSTM: HyperLSTMCell,
    LayerNormLSTM: LayerNormLSTMCell,
}
ACTIVATIONS = st.sampled_from(["tanh", "sigmoid", "relu", "softsign"])


@st.composite
def cells(draw, layer):
    """Draws the arguments of a cell."""
    arguments = {
        "units": draw(st.integers(1, 5)),
        "activation": draw(ACTIVATIONS),
        "use_bias": draw(st.booleans()),
    }
    if layer is not LayerNormLSTM:
        arguments["hyper_units"] = draw(st.integers(1, 4))
        arguments["embedding_dim"] = draw(st.integers(1, 3))
        arguments["initialization"] = draw(st.sampled_from(["paper", "supercell", "distinct"]))
    if layer is HyperSimpleRNN and arguments["initialization"] == "paper":
        arguments["form"] = draw(st.sampled_from(["scaled", "full"]))
    if layer is not HyperSimpleRNN:
        arguments["recurrent_activation"] = draw(ACTIVATIONS)
    if layer in (HyperLSTM, LayerNormLSTM):
        arguments["layer_norm"] = draw(st.booleans())
        arguments["unit_forget_bias"] = draw(st.booleans())
    return arguments


@st.composite
def calls(draw):
    """Draws the switches of the loop, and what it is called with."""
    switches = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
    loop = {name: draw(st.booleans()) for name in switches}
    batch, steps = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    loop["unroll"] = steps < 3 and draw(st.booleans())
    mask = None
    if draw(st.booleans()):
        rows = st.lists(st.booleans(), min_size=steps, max_size=steps)
        mask = np.array(draw(st.lists(rows, min_size=batch, max_size=batch)))
    shape = (batch, steps, draw(st.integers(1, 4)))
    return loop, shape, mask, draw(st.booleans()), draw(st.booleans())


def in_graph(loss, layer, x):
    """Returns what `outputs_and_gradients` does, in a graph on TensorFlow, as in `fit`."""
    if keras.backend.backend() != "tensorflow":
        return outputs_and_gradients(loss, layer, x)
    import tensorflow as tf

    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value, outputs = loss(x)
        return outputs, tape.gradient(value, [v.value for v in layer.trainable_variables] + [x])

    return to_numpy(run(tf.convert_to_tensor(x)))


@pytest.mark.parametrize("cls", CELLS, ids=lambda cls: cls.__name__)
def test_equals_the_cell_in_a_loop(cls):
    @examples(40)
    @given(arguments=cells(cls), call=calls())
    def check(arguments, call):
        keras.utils.set_random_seed(0)
        loop, shape, mask, starts, training = call
        # On PyTorch, Keras flips a tuple here, which raises.
        backwards = loop["go_backwards"] and loop["unroll"] and mask is not None
        assume(not (backwards and keras.backend.backend() == "torch"))
        layer = cls(**arguments, **loop)
        layer.build(shape)
        move(layer, 1)
        stock = keras.layers.RNN(CELLS[cls](**arguments), **loop)
        stock.build(shape)
        stock.set_weights(layer.get_weights())
        states = None
        if starts:
            states = [numbers(i, (shape[0], n)) for i, n in enumerate(layer.cell.state_size)]

        def loss_of(layer):
            def loss(x):
                outputs = layer(x, initial_state=states, mask=mask, training=training)
                outputs = outputs if loop["return_state"] else [outputs]
                return sum(keras.ops.sum(o * o) for o in outputs), outputs

            return loss

        x = numbers(9, shape)
        if training:
            ours, our_slopes = in_graph(loss_of(layer), layer, x)
            theirs, their_slopes = outputs_and_gradients(loss_of(stock), stock, x)
        else:
            (_, ours), (_, theirs) = loss_of(layer)(x), loss_of(stock)(x)
            our_slopes = their_slopes = []
        shapes = layer.compute_output_shape(shape)
        shapes = [tuple(s) for s in (shapes if loop["return_state"] else [shapes])]
        assert [tuple(o.shape) for o in ours] == shapes
        for a, b in zip(to_numpy(ours), to_numpy(theirs), strict=True):
            assert_close(a, b)
        for a, b in zip(our_slopes, their_slopes, strict=True):
            assert_close(a, b, 1e-3)

    check()
