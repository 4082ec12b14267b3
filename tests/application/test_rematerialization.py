"""Layers made within `keras.RematScope` have the same outputs and gradients as without."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import (
    gradients,
    long_where_compiled,
    outputs_and_gradients,
    shake,
    to_numpy,
)
from keras_hyper import Hypernetwork, LowRankGenerator

SCOPES = {
    "full": {"mode": "full"},
    "activations": {"mode": "activations"},
    "list_of_layers": {"mode": "list_of_layers", "layer_names": ["first", "block"]},
    "larger_than": {"mode": "larger_than", "output_size_threshold": 2},
}


class Block(layers.Layer):
    """Two adapted layers below a layer that is run again as a whole."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(5, activation="tanh", name="inner")
        self.norm = layers.BatchNormalization(name="norm")
        self.outer = layers.EinsumDense("ab,bc->ac", 4, bias_axes="c", name="outer")

    def build(self, shape):
        self.inner.build(shape)
        self.norm.build((None, 5))
        self.outer.build((None, 5))

    def call(self, inputs, training=None):
        return self.outer(self.norm(self.inner(inputs), training=training))

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


def target(scope, kind):
    with keras.RematScope(**SCOPES[scope]) if scope else keras.name_scope("plain"):
        if kind == "layers":
            body = [
                layers.Dense(4, activation="tanh", name="first"),
                layers.LayerNormalization(name="norm"),
            ]
        else:
            body = [Block(name="block")]
        return keras.Sequential([keras.Input((3,)), *body, layers.Dense(2, name="last")])


def hypernetwork(scope, kind):
    keras.utils.set_random_seed(0)
    model = Hypernetwork(
        target(scope, kind),
        LowRankGenerator(1, 4),
        condition=3,
        composition="add",
        base_trainable=True,
    )
    shake(model, np.random.default_rng(1))
    return model


@pytest.mark.parametrize(
    ("scope", "batched", "kind"),
    [
        ("full", True, "block"),
        ("full", False, "layers"),
        ("activations", True, "layers"),
        ("list_of_layers", True, "block"),
        long_where_compiled("full", False, "block"),
        long_where_compiled("larger_than", True, "layers"),
        long_where_compiled("list_of_layers", False, "layers"),
    ],
)
def test_gradients_are_those_without_rematerialization(scope, batched, kind, rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    c = rng.normal(size=(4, 3) if batched else (3,)).astype("float32")
    found = []
    for some in (None, scope):
        model = hypernetwork(some, kind)

        def loss(x, c, model=model):
            return ops.sum(ops.square(model(x, condition=c, training=True)))

        found.append((gradients(loss, model, x, c), to_numpy(model(x, condition=c))))
    (expected, outputs), (actual, same) = found
    assert all(np.abs(g).max() > 0 for g in expected[-2:])
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(same, outputs, rtol=1e-5, atol=1e-6)


def test_moving_averages_are_updated_once_in_a_rematerialized_block(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    c = rng.normal(size=(4, 3)).astype("float32")
    moved = []
    for scope in (None, "full"):
        model = hypernetwork(scope, "block")
        model.compile("sgd", "mse")
        model.fit({"inputs": x, "condition": c}, np.zeros((4, 2)), batch_size=4, verbose=0)
        moved.append(to_numpy(model.target.get_layer("block").norm.moving_mean))
    assert np.abs(moved[0]).max() > 0
    np.testing.assert_allclose(moved[1], moved[0], rtol=1e-5)


class Dropping(layers.Layer):
    """A layer that the table does not have, with a random mask and a loss."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(1)

    def build(self, shape):
        self.gain = self.add_weight(name="gain", shape=shape[-1:])

    def call(self, inputs):
        self.add_loss(ops.sum(inputs * self.gain))
        return keras.random.dropout(inputs * self.gain, 0.5, seed=self.seeds)

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.parametrize("batched", [False, True])
def test_what_runs_again_drops_the_same_units(batched, rng):
    with keras.RematScope(mode="full"):
        target = keras.Sequential([keras.Input((60,)), Dropping(name="dropping")])
    hyper = Hypernetwork(target, LowRankGenerator(1, 4), condition=3)
    x = rng.uniform(1, 2, size=(2, 60)).astype("float32")
    c = rng.normal(size=(2, 3) if batched else (3,)).astype("float32")

    def loss(x):
        outputs = hyper(x, condition=c)
        return ops.sum(outputs), outputs

    masks = []
    for _ in range(2):
        outputs, found = outputs_and_gradients(loss, hyper, x)
        # A product of the inputs with the mask and the gain.
        np.testing.assert_allclose(found[-1], outputs / x, rtol=1e-4, atol=1e-6)
        masks.append(outputs == 0)
    if keras.backend.backend() != "jax":
        # There, the gradient is a pure function.
        assert 0.2 < np.mean(masks[0] == masks[1]) < 0.8
    if batched:
        assert 0.2 < np.mean(masks[0][0] == masks[0][1]) < 0.8


def test_losses_of_what_runs_again_are_added(rng):
    with keras.RematScope(mode="full"):
        target = keras.Sequential([keras.Input((4,)), Dropping(name="dropping")])
    hyper = Hypernetwork(target, LowRankGenerator(1, 4), condition=3)
    x, c = rng.normal(size=(2, 4)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")
    hyper(x, condition=c)
    (loss,) = to_numpy(hyper.losses)
    gain = to_numpy(hyper.generate(c))["dropping/gain"]
    np.testing.assert_allclose(loss, (x * gain).sum() / 2, rtol=1e-4, atol=1e-6)
