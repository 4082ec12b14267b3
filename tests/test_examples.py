"""The examples that are short enough to be tests; the others run on their own."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from helpers import JIT, long_test_where_compiled, long_where_compiled, to_numpy

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


def transformer(blocks, width):
    """Returns a plain Keras transformer that predicts a class for each token."""
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, width)(ids)
    for i in range(blocks):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, width // 2, name=f"block_{i}")(y, y)
        y = layers.Dense(2 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(width)(y)
    return keras.Model(ids, layers.Dense(9)(x))


def trained_parameters(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def learns(make, inputs, condition, targets, loss, path):
    """Checks training, that each sample has its own weights, and a file of what is trained."""
    model = make()
    model(inputs, condition=condition)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=JIT)
    data = {"inputs": inputs, "condition": condition}
    losses = model.fit(data, targets, epochs=25, batch_size=len(inputs), verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    outputs = to_numpy(model(inputs, condition=condition))
    one = to_numpy(model(inputs, condition=condition[1]))
    np.testing.assert_allclose(outputs[1], one[1], rtol=1e-4, atol=1e-5)
    assert np.abs(outputs[0] - one[0]).max() > 1e-3
    model.save_adapter(path)
    again = make()
    again(inputs, condition=condition)
    again.load_adapter(path)
    loaded = to_numpy(again(inputs, condition=condition))
    np.testing.assert_allclose(loaded, outputs, rtol=1e-5, atol=1e-6)
    return model


@pytest.mark.parametrize(
    "kinds", [("query", "value"), long_where_compiled(("query", "value", "output"))]
)
def test_text_to_lora(kinds, rng, tmp_path):
    blocks, width, task, rank, dim = 3, 8, 5, 2, 4
    target = transformer(blocks, width)
    ids = rng.integers(0, 9, (4, 6))
    before = to_numpy(target(ids))
    example = load("text_to_lora")
    tasks = rng.normal(size=(4, task)).astype("float32")

    def make():
        return example.text_to_lora(target, blocks, kinds, rank, dim)

    hyper = make()
    np.testing.assert_allclose(to_numpy(hyper(ids, condition=tasks)), before, rtol=1e-5, atol=1e-6)
    assert list(hyper.generated_weights) == [
        f"block_{i}/{'attention_output' if kind == 'output' else kind}/kernel"
        for i in range(blocks)
        for kind in kinds
    ]
    embeddings = (task + 1) * dim + (blocks + len(kinds)) * dim
    mixer = (3 * dim + 1) * 4 * dim + (4 * dim + 1) * dim
    # The kernels of outputs have another shape than those of queries and values.
    heads = (len(kinds) - 1) * (dim + 1) * rank * (width + width)
    gates = blocks * len(kinds)
    assert trained_parameters(hyper) == embeddings + mixer + heads + gates
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    hyper = learns(make, ids, tasks, rng.integers(0, 9, (4, 6)), loss, tmp_path / "lora.npz")
    baked = to_numpy(hyper.bake(tasks[0])(ids))
    outputs = to_numpy(hyper(ids, condition=tasks))
    np.testing.assert_allclose(baked[0], outputs[0], rtol=1e-4, atol=1e-5)


@long_test_where_compiled
def test_trans_inr(rng, tmp_path):
    dim, depth, hidden = 8, 2, 6
    # Coordinates in a plane to a brightness.
    units = [layers.Dense(hidden, activation="relu") for _ in range(3)]
    target = keras.Sequential([keras.Input((None, 2)), *units, layers.Dense(1)])
    example = load("trans_inr")

    def make():
        return example.trans_inr(target, weights=4, dim=dim)

    hyper = make()
    places = rng.uniform(-1, 1, (4, 10, 2)).astype("float32")
    values = np.sin(places @ rng.normal(size=(4, 2, 1)).astype("float32"))
    samples = np.concatenate([places, values], axis=-1)
    hyper(places, condition=samples)
    tokens = (3 + 1) * dim + 4 * dim
    attention, perceptron = 4 * (dim + 1) * dim, (dim + 1) * 2 * dim + (2 * dim + 1) * dim
    block = 2 * 2 * dim + attention + perceptron
    # Two kernels of one shape share their head. Biases are not generated.
    heads = (dim + 1) * (2 * hidden + hidden * hidden + hidden)
    assert trained_parameters(hyper) == tokens + depth * block + heads + 3 * hidden + 1
    learns(make, places, samples, values, "mse", tmp_path / "inr.npz")
