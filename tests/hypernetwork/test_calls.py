"""After the first step a model runs as a compiled program: `call` is not called again."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT
from keras_hyper import (
    HyperConv2D,
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    LowRankGenerator,
    NoiseCondition,
    TaskEmbedding,
)

pytestmark = pytest.mark.skipif(not JIT, reason="PyTorch runs models eagerly")


def target(normalization=layers.BatchNormalization):
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu"),
            normalization(),
            layers.Dropout(0.1),
            layers.Dense(2),
        ]
    )


def layers_alone():
    inputs = keras.Input((6,))
    x = layers.Reshape((6, 1))(inputs)
    x = HyperLSTM(3, hyper_units=2, embedding_dim=2, recurrent_dropout=0.1)(x)
    return keras.Model(inputs, HyperDense(2, generator=LowRankGenerator(2))(x))


def conditioned_layers():
    inputs = keras.Input((6,))
    image = layers.Reshape((3, 2, 1))(inputs)
    x = HyperConv2D(2, 2, generate_bias=True)(image, condition=NoiseCondition(3)(inputs))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))


KINDS = {
    "layers": layers_alone,
    "conditioned layers": conditioned_layers,
    "static": lambda: Hypernetwork(target()),
    "low rank": lambda: Hypernetwork(target(), LowRankGenerator(2), include="*kernel"),
    "patterns": lambda: Hypernetwork(
        target(), {"dense": LowRankGenerator(2), "*": LowRankGenerator(1)}, include="*kernel"
    ),
    "adapter": lambda: Hypernetwork(
        target(layers.LayerNormalization), LowRankGenerator(2), 3, "*kernel", "add"
    ),
    "noise": lambda: Hypernetwork(target(), condition=NoiseCondition(4, shared=True)),
    "tasks": lambda: Hypernetwork(target(), condition=TaskEmbedding(3, 4), state_per_task=True),
    "kept": lambda: Hypernetwork(
        target(), condition=TaskEmbedding(3, 4), output_regularization=0.1
    ),
    "at": lambda: Hypernetwork(target(), condition=TaskEmbedding(3, 4)).at(1),
    "part": lambda: keras.Sequential([keras.Input((6,)), Hypernetwork(target())]),
}


def data(model):
    x, y = np.ones((4, 6), "float32"), np.zeros((4, 2), "float32")
    condition = getattr(model, "condition", None)
    if not isinstance(model, Hypernetwork) or condition is None or not condition.takes_values:
        return x, y
    given = np.ones((4, 3), "float32")
    return {"inputs": x, "condition": given}, y


@pytest.mark.parametrize("kind", KINDS)
def test_call_is_called_by_the_first_step_alone(kind, monkeypatch):
    model = KINDS[kind]()
    x, y = data(model)
    if kind in ("tasks", "kept"):
        model = model.at(1)
        x = np.ones((4, 6), "float32")
    calls = []
    cls = type(model)
    call = cls.call
    monkeypatch.setattr(cls, "call", lambda self, *a, **k: calls.append(1) or call(self, *a, **k))
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    model.train_on_batch(x, y)
    model.predict(x, verbose=0)
    assert calls
    calls.clear()
    model.fit(x, y, epochs=2, verbose=0)
    model.train_on_batch(x, y)
    model.predict(x, verbose=0)
    assert not calls
    assert all(layer.built for layer in model._flatten_layers())
