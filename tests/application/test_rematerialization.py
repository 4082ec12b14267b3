"""Layers made within `keras.RematScope` have the same outputs and gradients as without."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import gradients, long_where_compiled, shake, to_numpy
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
