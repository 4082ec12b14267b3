"""Layers without a function in the table: called once for each sample, or with written weights."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import to_numpy
from keras_hyper import Hypernetwork, LinearGenerator, LowRankGenerator


class Gain(layers.Layer):
    """Multiplies by a vector, drops a half, and adds a loss; with what a test asks for."""

    def __init__(self, rate=0.0, reads=None, moves=False, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.moves = rate, moves
        # Not tracked: Keras finds no layers in functions.
        self.more = (lambda: 0.0) if reads is None else (lambda: ops.sum(reads.kernel))
        self.seeds = keras.random.SeedGenerator(1)

    def build(self, shape):
        self.gain = self.add_weight(name="gain", shape=shape[-1:])
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        outputs = inputs * self.gain + self.more()
        self.add_loss(ops.sum(outputs))
        if self.moves:
            self.calls.assign(self.calls + 1)
        return keras.random.dropout(outputs, self.rate, seed=self.seeds) if self.rate else outputs

    def compute_output_shape(self, shape):
        return shape


def hypernetwork(*parts, width=4, **options):
    target = keras.Sequential([keras.Input((width,)), *parts])
    return Hypernetwork(target, LinearGenerator(4), condition=3, **options)


def data(rng, rows=3, width=4):
    return rng.normal(size=(rows, width)).astype("float32"), rng.normal(size=(rows, 3)).astype(
        "float32"
    )


def test_outputs_are_those_of_the_samples_and_the_loss_is_their_mean(rng):
    hyper = hypernetwork(Gain(name="gain"))
    x, c = data(rng)
    outputs = to_numpy(hyper(x, condition=c))
    (loss,) = to_numpy(hyper.losses)
    expected = x * to_numpy(hyper.generate(c))["gain/gain"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, expected.sum() / 3, rtol=1e-5)


def test_no_samples_have_no_outputs(rng):
    hyper = hypernetwork(Gain(name="gain"))
    x, c = data(rng)
    hyper(x, condition=c)
    assert to_numpy(hyper(x[:0], condition=c[:0])).shape == (0, 4)


def test_no_layers_are_mapped_without_a_condition():
    target = keras.Sequential([keras.Input((4,)), Gain(name="gain")])
    assert Hypernetwork(target, LinearGenerator(4)).mapped_layers() == []


def test_no_layers_are_mapped_before_building(rng):
    layer = Gain(name="gain")
    hyper = Hypernetwork(layer, LinearGenerator(4), condition=3)
    assert hyper.mapped_layers() == []
    x, c = data(rng)
    hyper(x, condition=c)
    assert hyper.mapped_layers() == [layer]


def test_each_sample_and_each_call_drops_other_units(rng):
    hyper = hypernetwork(Gain(rate=0.5, name="gain"), width=200)
    x, c = np.ones((2, 200), "float32"), np.ones((2, 3), "float32")
    (first, second), (again, _) = (to_numpy(hyper(x, condition=c)) == 0 for _ in range(2))
    for mask in (second, again):
        assert 0.3 < np.mean(first == mask) < 0.7


def test_a_changed_variable_raises(rng):
    hyper = hypernetwork(Gain(moves=True, name="gain"))
    x, c = data(rng)
    with pytest.raises(ValueError, match="changes its variable 'calls'"):
        hyper(x, condition=c)
    hyper(x, condition=c[0])
    assert float(to_numpy(hyper.target.get_layer("gain").calls)) == 1


@pytest.mark.parametrize("composition", ["replace", "add"])
def test_a_weight_of_another_layer_that_differs_between_samples_is_not_read(composition, rng):
    dense = layers.Dense(4, use_bias=False, name="dense")
    hyper = hypernetwork(dense, Gain(reads=dense, name="gain"), composition=composition)
    x, c = data(rng)
    hyper(x, condition=c[0])
    for weight in hyper.generated_weights.values() if composition == "add" else ():
        weight.gate.assign(0.5)
    with pytest.raises(ValueError, match="reads its weight 'dense/kernel' outside of the layer"):
        hyper(x, condition=c)
    weights = to_numpy(hyper.generate(c[0]))
    expected = x @ weights["dense/kernel"] * weights["gain/gain"] + weights["dense/kernel"].sum()
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c[0])), expected, rtol=1e-4, atol=1e-5)


class Matrix(layers.Layer):
    """A product that the table does not have."""

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 5))

    def call(self, inputs):
        self.add_loss(ops.sum(self.kernel))
        return ops.matmul(inputs, self.kernel)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 5)


@pytest.mark.parametrize("batched", [False, True])
def test_factors_are_written_out(batched, rng):
    hyper = Hypernetwork(
        keras.Sequential([keras.Input((4,)), Matrix(name="matrix")]),
        LowRankGenerator(1, 4),
        condition=3,
        composition="add",
    )
    hyper.generated_weights["matrix/kernel"].gate.assign(0.5)
    x, c = data(rng)
    c = c if batched else c[0]
    outputs = to_numpy(hyper(x, condition=c))
    (loss,) = to_numpy(hyper.losses)
    kernel = to_numpy(hyper.generate(c))["matrix/kernel"]
    expected = np.einsum("bi,bio->bo" if batched else "bi,io->bo", x, kernel)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, kernel.sum() / (3 if batched else 1), rtol=1e-4)


class Noisy(Gain):
    def call(self, inputs):
        return super().call(inputs) + 0 * keras.random.normal(ops.shape(inputs))


def test_random_numbers_without_a_seed_of_the_layer(rng):
    hyper = hypernetwork(Noisy(name="gain"))
    x, c = rng.normal(size=(2, 4)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")
    gain = to_numpy(hyper.generate(c)["gain/gain"])
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c)), x * gain, rtol=1e-5, atol=1e-6)


class Tied(layers.Layer):
    """A product with the kernel of another layer, and a gain."""

    def __init__(self, first, **kwargs):
        super().__init__(**kwargs)
        self.read = lambda: first.kernel  # Not a sublayer.

    def build(self, shape):
        self.kernel = self.read()
        self.gain = self.add_weight(name="gain", shape=shape[-1:])

    def call(self, inputs):
        return ops.matmul(inputs, self.kernel) * self.gain

    def compute_output_shape(self, shape):
        return shape


def test_a_variable_that_two_layers_hold_has_the_generated_value_in_both(rng):
    first = layers.Dense(4, use_bias=False, name="first")
    hyper = hypernetwork(first, Tied(first, name="tied"))
    assert list(hyper.generated_weights) == ["first/kernel", "tied/gain"]
    x, c = data(rng)
    weights = to_numpy(hyper.generate(c))
    kernel = weights["first/kernel"]
    expected = np.einsum("bi,bij,bjk->bk", x, kernel, kernel) * weights["tied/gain"]
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c)), expected, rtol=1e-4, atol=1e-5)
