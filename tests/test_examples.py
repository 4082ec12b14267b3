"""The examples that are short enough to be tests; the others run on their own."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from helpers import long_where_compiled

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("normalization", "target"),
    [
        ("layer", layers.BatchNormalization),
        ("weight", layers.LayerNormalization),
        long_where_compiled("layer", layers.LayerNormalization),
        long_where_compiled("weight", layers.BatchNormalization),
    ],
)
def test_a_perceptron_out_of_one_embedding(normalization, target):
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x = x / 16
    model = load("generated_perceptron").GeneratedPerceptron(64, 10, normalization, target)
    model(x[:1])
    (embedding,) = model.embedding.trainable_weights
    before = embedding.numpy()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    model.fit(x[:1200], y[:1200], epochs=5, verbose=0)
    assert model.evaluate(x[1200:], y[1200:], verbose=0)[1] > 0.8
    # One network makes both layers, and learns together with the embedding.
    assert model.first.generator is model.second.generator
    assert np.abs(embedding.numpy() - before).min() > 0
