"""Layers with several rows for each sample, such as windows and tokens."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import JIT, long_test_where_compiled, shake, to_numpy
from keras_hyper import Hypernetwork, LinearGenerator, LowRankGenerator, MLPGenerator
from keras_hyper.application.rows import folded_layers

SIZE, WINDOW, WIDTH = 4, 2, 3


@keras.saving.register_keras_serializable("tests")
class Windows(layers.Layer):
    """Attention and a dense layer in windows of an image, which are separate rows."""

    def __init__(self, order="sample", **kwargs):
        super().__init__(**kwargs)
        self.order = order
        self.attention = layers.MultiHeadAttention(1, 2, name="attention")
        self.dense = layers.Dense(WIDTH, "tanh", name="dense")
        self.norm = layers.LayerNormalization(name="norm")

    def build(self, shape):
        self.attention.build((None, WINDOW**2, WIDTH), (None, WINDOW**2, WIDTH))
        self.dense.build((None, WINDOW**2, WIDTH))
        self.norm.build((None, WINDOW**2, WIDTH))

    def call(self, x):
        count = SIZE // WINDOW
        x = ops.reshape(x, (-1, count, WINDOW, count, WINDOW, WIDTH))
        # The windows of an image one after the other, or an image of each window.
        axes = (0, 1, 3, 2, 4, 5) if self.order == "sample" else (1, 3, 0, 2, 4, 5)
        x = ops.reshape(ops.transpose(x, axes), (-1, WINDOW**2, WIDTH))
        x = self.norm(x + self.attention(x, x))
        x = self.dense(x)
        if self.order == "sample":
            return ops.reshape(x, (-1, SIZE * SIZE * WIDTH))
        x = ops.reshape(x, (count * count, -1, WINDOW**2 * WIDTH))
        return ops.reshape(ops.transpose(x, (1, 0, 2)), (-1, SIZE * SIZE * WIDTH))

    def get_config(self):
        return {**super().get_config(), "order": self.order}


@keras.saving.register_keras_serializable("tests")
class Tokens(layers.Layer):
    """A router over tokens, which are separate rows."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.router = layers.Dense(2, "softmax", name="router")

    def build(self, shape):
        self.router.build((None, shape[-1]))

    def call(self, x):
        tokens = ops.reshape(x, (-1, WIDTH))
        share = self.router(tokens)
        return ops.reshape(tokens * share[:, :1], ops.shape(x))


TARGETS = {
    "windows": lambda: [keras.Input((SIZE, SIZE, WIDTH)), Windows(name="windows")],
    "tokens": lambda: [
        keras.Input((5,), dtype="int32"),
        layers.Embedding(50, WIDTH, name="table"),
        Tokens(name="tokens"),
    ],
}
GENERATORS = {
    "low rank": lambda: LowRankGenerator(1),
    "linear": lambda: LinearGenerator(2),
    "full": lambda: MLPGenerator((4,)),
}


def hyper_over(kind, rng, generator="full", **kwargs):
    target = keras.Sequential(TARGETS[kind]())
    kwargs.setdefault("composition", "add")
    model = Hypernetwork(target, GENERATORS[generator](), condition=3, **kwargs)
    shake(model, rng)
    return model, *data(kind, rng)


def data(kind, rng, batch=3):
    c = rng.normal(size=(batch, 3)).astype("float32")
    if kind == "tokens":
        return rng.integers(0, 50, (batch, 5)).astype("int32"), c
    return rng.normal(size=(batch, SIZE, SIZE, WIDTH)).astype("float32"), c


def one_by_one(model, x, c):
    samples = [to_numpy(model(x[i : i + 1], condition=c[i])) for i in range(len(x))]
    return np.concatenate(samples)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("kind", TARGETS)
def test_rows_of_a_sample_have_its_weights(kind, generator, rng):
    include = "*kernel" if generator == "low rank" else "*"
    model, x, c = hyper_over(kind, rng, generator, include=include)
    outputs = to_numpy(model(x, condition=c))
    np.testing.assert_allclose(outputs, one_by_one(model, x, c), rtol=1e-4, atol=1e-5)
    # Other batch sizes need no other test, and one row is no exception.
    for count in (1, 2):
        part = to_numpy(model(x[:count], condition=c[:count]))
        np.testing.assert_allclose(part, outputs[:count], rtol=1e-4, atol=1e-5)


@long_test_where_compiled
@pytest.mark.parametrize("kind", TARGETS)
def test_after_an_eager_call_in_compiled_ones(kind, rng):
    model, x, c = hyper_over(kind, rng)
    model(x[:2], condition=c[:2])
    expected = one_by_one(model, x, c)
    predicted = model.predict({"inputs": x, "condition": c}, batch_size=2, verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-5)
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=JIT)
    model.fit({"inputs": x, "condition": c}, np.zeros_like(expected), batch_size=2, verbose=0)
    assert np.abs(to_numpy(model(x, condition=c)) - expected).max() > 1e-6


def test_several_samples_for_a_condition(rng):
    model, x, c = hyper_over("windows", rng, sample_axis=True)
    x = np.stack([x, x[::-1]], axis=1)
    outputs = to_numpy(model(x, condition=c))
    for i in range(3):
        expected = to_numpy(model.at(c[i])(x[i : i + 1]))
        np.testing.assert_allclose(outputs[i : i + 1], expected, rtol=1e-4, atol=1e-5)


def test_another_order_raises(rng):
    TARGETS["others"] = lambda: [keras.Input((SIZE, SIZE, WIDTH)), Windows("window")]
    try:
        model, x, c = hyper_over("others", rng)
    finally:
        del TARGETS["others"]
    with pytest.raises(ValueError, match="3 samples, and is called with 12 rows"):
        model(x, condition=c)
    model(x, condition=c[0])  # One set of weights is right in any order.


def test_rows_that_samples_share_say_nothing_of_their_order(rng):
    """With the same token everywhere, all orders look alike."""
    model, x, c = hyper_over("tokens", rng)
    with pytest.raises(ValueError, match="is called with 15 rows"):
        model(np.ones_like(x), condition=c)
    model(x, condition=c)


class Alike(layers.Layer):
    """Applies a dense layer to nearly equal rows, ordered by token, then by sample."""

    def build(self, shape):
        self.dense = layers.Dense(2, name="dense")
        self.dense.build((None, shape[-1]))

    def call(self, x):
        rows = ops.transpose(1 + 0.002 * ops.tanh(x), (1, 0, 2))
        outputs = self.dense(ops.reshape(rows, (-1, x.shape[-1])))
        return ops.transpose(ops.reshape(outputs, (x.shape[1], -1, 2)), (1, 0, 2))

    def compute_output_shape(self, shape):
        return (*shape[:2], 2)


def test_the_order_of_nearly_equal_rows_is_ambiguous(rng):
    target = keras.Sequential([keras.Input((2, 8)), Alike(name="alike")])
    model = Hypernetwork(target, LinearGenerator(2), condition=3, include="*kernel")
    x, c = rng.normal(size=(3, 2, 8)).astype("float32"), rng.normal(size=(3, 3)).astype("float32")
    with pytest.raises(ValueError, match="3 samples, and is called with 6 rows"):
        model(x, condition=c)


def test_traced_inputs_are_not_compared():
    assert folded_layers(lambda x: x, keras.KerasTensor((2, 3))) == set()


class Folded(layers.Layer):
    """Drops inputs, folds them into rows, and normalizes what a dense layer makes of these."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = layers.Dropout(0.5, seed=1)
        self.dense = layers.Dense(3, activity_regularizer="l2", name="dense")
        self.norm = layers.BatchNormalization(name="norm")

    def build(self, shape):
        self.dense.build((None, 4))
        self.norm.build((None, 3))

    def call(self, inputs, training=None):
        rows = ops.reshape(self.drop(inputs, training=training), (-1, 4))
        return ops.reshape(self.norm(self.dense(rows), training=training), (-1, 6))

    def compute_output_shape(self, shape):
        return (shape[0], 6)


def test_the_test_of_rows_leaves_nothing_behind(rng):
    def first_call(tested_before):
        keras.utils.set_random_seed(3)
        target = keras.Sequential([keras.Input((8,)), Folded(name="folded")])
        hyper = Hypernetwork(target, LowRankGenerator(1), condition=3, include="*dense/kernel")
        if tested_before:
            hyper(x, condition=c)
            target.layers[0].drop.seed_generator.state.assign([1, 0])
        hyper(x, condition=c, training=True)
        return to_numpy(hyper.losses), to_numpy(target.layers[0].norm.moving_mean)

    x, c = rng.normal(size=(5, 8)).astype("float32"), rng.normal(size=(5, 3)).astype("float32")
    (loss,), mean = first_call(False)
    (expected_loss,), expected_mean = first_call(True)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5, atol=1e-6)


def test_a_recurrent_layer_besides_is_no_hindrance(rng):
    inputs = keras.Input((4, WIDTH))
    tokens = Tokens(name="tokens")(inputs)
    target = keras.Model(inputs, [tokens, layers.LSTM(2)(inputs)])
    hyper = Hypernetwork(target, LinearGenerator(2), condition=3, include="*kernel")
    x = rng.normal(size=(2, 4, WIDTH)).astype("float32")
    c = rng.normal(size=(2, 3)).astype("float32")
    assert [tuple(y.shape) for y in hyper(x, condition=c)] == [(2, 4, WIDTH), (2, 2)]
