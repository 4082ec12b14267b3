"""Recurrent layers never run a fused implementation with weights that are not the given ones."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import to_numpy
from keras_hyper import Hypernetwork, LowRankGenerator
from keras_hyper.utils.graph import seed_states


def spied(cls):
    """Returns a subclass that keeps the kernels with which Keras's own loop is called."""

    class Spy(cls):
        seen = ()

        def inner_loop(self, *args, **kwargs):
            # Keras's loops hand these to the backend's fused implementation.
            self.seen = (*self.seen, to_numpy(self.cell.kernel.value))
            return super().inner_loop(*args, **kwargs)

    return Spy


def hypernetwork(layer):
    hyper = Hypernetwork(
        keras.Sequential([keras.Input((5, 4)), layer]),
        LowRankGenerator(1, 4),
        condition=3,
        include="*kernel",
        composition="add",
    )
    for weight in hyper.generated_weights.values():
        weight.gate.assign(0.5)
    return hyper


@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU])
@pytest.mark.parametrize("batched", [False, True])
def test_fused_implementations_see_the_given_weights_or_none(cls, batched, rng):
    layer = spied(cls)(3, use_cudnn="auto")
    hyper = hypernetwork(layer)
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    c = rng.normal(size=(2, 3) if batched else (3,)).astype("float32")
    layer.seen = ()
    outputs = to_numpy(hyper(x, condition=c))
    assert len(layer.seen) == (0 if batched else 1)
    path = next(path for path in hyper.generated_weights if path.endswith("/kernel"))
    kernel = to_numpy(hyper.generate(c)[path])
    for seen in layer.seen:
        np.testing.assert_array_equal(seen, kernel)
    np.testing.assert_array_equal(to_numpy(layer.cell.kernel), to_numpy(layer.cell.kernel.value))
    weights = to_numpy(hyper.generate(c))
    for i in range(2):
        own = {k: w[i] for k, w in weights.items()} if batched else weights
        one = to_numpy(hyper.apply(own, x[i : i + 1]))
        np.testing.assert_allclose(outputs[i : i + 1], one, rtol=1e-5, atol=1e-6)


WRAPPED = {
    "Bidirectional": lambda: layers.Bidirectional(layers.LSTM(3, use_cudnn="auto")),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "RNN of a cell": lambda: layers.RNN(layers.GRUCell(3, dropout=0.5)),
    "masked": lambda: Masked(layers.LSTM(3, use_cudnn="auto")),
    "unrolled": lambda: layers.SimpleRNN(3, unroll=True),
    "ConvLSTM1D": lambda: InImages(layers.ConvLSTM1D(2, 2)),
}


class Masked(layers.Layer):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, shape):
        self.layer.build(shape)

    def call(self, inputs):
        return self.layer(inputs, mask=inputs[..., 0] > 0)

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape(shape)


class InImages(Masked):
    def build(self, shape):
        self.layer.build((*shape, 1))

    def call(self, inputs):
        return self.layer(inputs[..., None])

    def compute_output_shape(self, shape):
        return self.layer.compute_output_shape((*shape, 1))


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_recurrent_layers_use_the_given_weights(name, batched, rng):
    hyper = hypernetwork(WRAPPED[name]())
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    c = rng.normal(size=(2, 3) if batched else (3,)).astype("float32")
    outputs, weights = to_numpy(hyper(x, condition=c)), to_numpy(hyper.generate(c))
    assert not np.allclose(outputs, to_numpy(hyper.target(x)))
    for i in range(2):
        for path, variable in hyper.runner.generated.items():
            variable.assign(weights[path][i] if batched else weights[path])
        plain = to_numpy(hyper.target(x[i : i + 1]))
        np.testing.assert_allclose(outputs[i : i + 1], plain, rtol=1e-4, atol=1e-5)


CELLS = {
    "LSTM": lambda **options: layers.LSTM(3, **options),
    "GRU": lambda **options: layers.GRU(3, **options),
    "GRU, reset before": lambda **options: layers.GRU(3, reset_after=False, **options),
    "SimpleRNN": lambda **options: layers.SimpleRNN(3, **options),
    "without activation": lambda **options: layers.SimpleRNN(3, activation=None, **options),
}


@pytest.mark.parametrize("name", CELLS)
def test_dropout_is_that_of_the_stock_cell(name, rng):
    hyper = hypernetwork(CELLS[name](dropout=0.4, recurrent_dropout=0.3, seed=3))
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    c = rng.normal(size=(3,)).astype("float32")
    (state,) = seed_states(hyper.target)
    start, outputs = to_numpy(state.value).copy(), []
    for condition in (c, np.stack([c, c])):
        state.assign(start)
        outputs.append(to_numpy(hyper(x, condition=condition, training=True)))
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-5, atol=1e-6)
    assert np.abs(outputs[0] - to_numpy(hyper(x, condition=c))).max() > 1e-3


class OneStep(layers.Layer):
    """Calls a cell with one tensor as its state."""

    def __init__(self, cell, **kwargs):
        super().__init__(**kwargs)
        self.cell = cell

    def build(self, shape):
        self.cell.build((shape[0], shape[-1]))

    def call(self, inputs):
        output, state = self.cell(inputs[:, 1], inputs[:, 0, :3])
        return output + state

    def compute_output_shape(self, shape):
        return (shape[0], 3)


@pytest.mark.parametrize("cls", [layers.GRUCell, layers.SimpleRNNCell])
def test_a_cell_returns_its_state_in_the_form_that_it_was_given(cls, rng):
    hyper = hypernetwork(OneStep(cls(3)))
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    c = rng.normal(size=(2, 3)).astype("float32")
    outputs = to_numpy(hyper(x, condition=c))
    for i in range(2):
        alone = to_numpy(hyper(x[i : i + 1], condition=c[i]))
        np.testing.assert_allclose(outputs[i : i + 1], alone, rtol=1e-5, atol=1e-6)
