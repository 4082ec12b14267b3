"""Samples without an adapter: their outputs are those of the target with its own weights."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT, shake, to_numpy
from keras_hyper import (
    AdapterMask,
    ChunkedGenerator,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    MLPGenerator,
    NoiseCondition,
    TaskEmbedding,
    export_saved_model,
)

GENERATORS = {
    "low rank": lambda: LowRankGenerator(1),
    "linear": lambda: LinearGenerator(2),
    "full": lambda: MLPGenerator((4,)),
    "chunked": lambda: ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3),
}
TARGETS = {
    "dense": (lambda: [layers.Dense(4, "tanh")], (5,)),
    "positions": (lambda: [layers.Dense(4)], (3, 5)),
    "einsum": (lambda: [layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")], (3, 5)),
    "conv": (lambda: [layers.Conv2D(3, 2)], (4, 4, 2)),
    "depthwise": (lambda: [layers.DepthwiseConv2D(2)], (4, 4, 2)),
    "embedding": (lambda: [layers.Embedding(7, 4)], (3,)),
    "norm": (lambda: [layers.LayerNormalization()], (3, 5)),
    "batch norm": (lambda: [layers.BatchNormalization()], (5,)),
    "lstm": (lambda: [layers.LSTM(3)], (3, 2)),
}
# Where what is generated is added to a product of the target's own kernel, or multiplied with
# its outputs, the outputs are the same bits. Elsewhere the kernels are written out for each
# sample, and the products round in another order.
EXACT = {("dense", "low rank"), ("positions", "low rank"), ("dense", "linear")}
EXACT |= {("embedding", generator) for generator in GENERATORS}
MASK = np.array([True, False, True, False])


def over(kind, generator="low rank", composition="add", rng=None, condition=(3,), **kwargs):
    make, shape = TARGETS[kind]
    dtype = "int32" if kind == "embedding" else "float32"
    target = keras.Sequential([keras.Input(shape, dtype=dtype), *make()])
    hyper = Hypernetwork(
        target,
        GENERATORS[generator](),
        condition=[*condition, AdapterMask()],
        composition=composition,
        **kwargs,
    )
    rng = rng or np.random.default_rng(0)
    shake(hyper, rng)
    x = rng.integers(0, 7, (4, *shape)) if dtype == "int32" else rng.normal(size=(4, *shape))
    return hyper, x.astype(dtype), rng.normal(size=(4, 3)).astype("float32")


@pytest.mark.parametrize("composition", ["add", "multiply", "scale"])
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("kind", TARGETS)
def test_outputs_without_an_adapter_are_those_of_the_target(kind, generator, composition, rng):
    if kind == "norm" and generator == "low rank":
        generator = "full"  # A vector has no factors.
    hyper, x, c = over(kind, generator, composition, rng)
    outputs = to_numpy(hyper(x, condition=[c, MASK]))
    own, full = to_numpy(hyper.target(x)), to_numpy(hyper(x, condition=[c, [True] * 4]))
    np.testing.assert_allclose(outputs[~MASK], own[~MASK], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs[MASK], full[MASK], rtol=1e-5, atol=1e-6)
    assert np.abs(full - own).max() > 1e-3
    if (kind, generator) in EXACT and composition != "multiply":
        np.testing.assert_array_equal(outputs[~MASK], own[~MASK])


@pytest.mark.parametrize(
    ("condition", "one"),
    [
        ([TaskEmbedding(3, 2)], 1),
        ([NoiseCondition(3, shared=True)], None),
        ([layers.Dense(4, name="context")], np.ones(3, "float32")),
    ],
    ids=["task", "noise", "network"],
)
def test_one_condition_with_a_mask_for_each_sample(condition, one, rng):
    hyper, x, _ = over("dense", rng=rng, condition=condition)
    value = MASK if one is None else [one, MASK]
    if one is not None:
        hyper(x, condition=[np.stack([one] * 4), MASK])  # Builds the network.
        shake(hyper, rng)
    outputs, own = to_numpy(hyper(x, condition=value)), to_numpy(hyper.target(x))
    np.testing.assert_allclose(outputs[~MASK], own[~MASK], rtol=1e-5, atol=1e-6)
    assert (np.abs(outputs - own)[MASK].max(axis=-1) > 1e-3).all()


def test_rows_for_weights(rng):
    target = keras.Sequential([keras.Input((3, 5)), layers.Dense(4, use_bias=False)])
    hyper = Hypernetwork(
        target,
        LowRankGenerator(1, embedding_dim=3),
        condition=[3, AdapterMask()],
        composition="add",
        condition_per_weight=True,
    )
    shake(hyper, rng)
    x = rng.normal(size=(4, 3, 5)).astype("float32")
    rows = rng.normal(size=(1, 3)).astype("float32")
    outputs = to_numpy(hyper(x, condition=[rows, MASK]))
    np.testing.assert_allclose(outputs[~MASK], to_numpy(hyper.target(x))[~MASK], rtol=1e-5)


def test_several_samples_for_a_condition(rng):
    hyper, x, c = over("dense", rng=rng, sample_axis=True)
    outputs = to_numpy(hyper(x[:, None].repeat(2, 1), condition=[c, MASK]))
    np.testing.assert_allclose(
        outputs[~MASK][:, 1], to_numpy(hyper.target(x))[~MASK], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("mask", [True, False])
def test_one_mask_for_all(mask, rng):
    hyper, x, c = over("dense", rng=rng)
    condition = [c[0], mask]
    own = to_numpy(hyper.target(x))
    for outputs in (
        hyper(x, condition=condition),
        hyper.at(condition)(x),
        hyper.bake(condition)(x),
        hyper.apply(hyper.generate(condition), x),
    ):
        assert np.allclose(to_numpy(outputs), own, rtol=1e-5, atol=1e-6) is not mask
    weights = hyper.generate([c, MASK])["dense/kernel"]
    kernel = to_numpy(hyper.target.layers[0].kernel.value)
    np.testing.assert_array_equal(to_numpy(weights)[1], kernel)


def test_fit_and_predict(rng, tmp_path):
    hyper, x, c = over("dense", rng=rng)
    hyper.compile("sgd", "mse", jit_compile=JIT)
    weight = next(iter(hyper.generated_weights.values()))
    before = [to_numpy(v.value) for v in weight.trainable_variables]
    without = {"inputs": x, "condition": [c, np.zeros(4, bool)]}
    hyper.fit(without, np.ones((4, 4), "float32"), batch_size=2, verbose=0)
    for v, old in zip(weight.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(v.value), old)
    mixed = {"inputs": x, "condition_0": c, "condition_1": MASK}
    hyper.fit(mixed, np.ones((4, 4), "float32"), batch_size=2, verbose=0)
    predicted = hyper.predict(mixed, batch_size=2, verbose=0)
    own = to_numpy(hyper.target(x))
    np.testing.assert_allclose(predicted[~MASK], own[~MASK], rtol=1e-5, atol=1e-6)
    assert np.abs(predicted - own)[MASK].max() > 1e-3
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(again.predict(mixed, verbose=0), predicted, rtol=1e-5, atol=1e-6)


def test_a_functional_model_takes_the_mask(rng):
    hyper, x, c = over("dense", rng=rng)
    inputs = [keras.Input((5,)), keras.Input((3,)), keras.Input((), dtype="bool")]
    model = keras.Model(inputs, hyper(inputs[0], condition=inputs[1:]))
    expected = to_numpy(hyper(x, condition=[c, MASK]))
    np.testing.assert_allclose(model.predict([x, c, MASK], verbose=0), expected, rtol=1e-5)


@pytest.mark.tensorflow
def test_exported_endpoints_take_the_mask(rng, tmp_path):
    import tensorflow as tf

    hyper, x, c = over("dense", rng=rng)
    expected = to_numpy(hyper(x, condition=[c, MASK]))
    export_saved_model(hyper, tmp_path)
    endpoints = tf.saved_model.load(str(tmp_path)).signatures
    condition = {"condition_0": tf.constant(c), "condition_1": tf.constant(MASK)}
    outputs = endpoints["serving_default"](inputs=tf.constant(x), **condition)
    np.testing.assert_allclose(outputs["outputs"], expected, rtol=1e-5, atol=1e-6)
    weights = endpoints["generate"](**condition)
    outputs = endpoints["apply"](inputs=tf.constant(x), **weights)
    np.testing.assert_allclose(outputs["outputs"], expected, rtol=1e-5, atol=1e-6)


REFUSED = {
    "replace": (lambda: over("dense", composition="replace"), ValueError, "composition='replace'"),
    "state": (
        lambda: over("dense", condition=(TaskEmbedding(3, 2),), state_per_task=True),
        ValueError,
        "the state of a task",
    ),
    "alone": (lambda: over("dense", condition=()), ValueError, "beside the parts"),
    "two": (lambda: over("dense", condition=(3, AdapterMask())), ValueError, "one AdapterMask"),
    "numbers": (
        lambda: call([0, 1, 1, 0]),
        TypeError,
        r"takes booleans.*Received: a mask of dtype int.*Use `mask != 0`",
    ),
    "axes": (lambda: call([[True, False]]), ValueError, r"Received: a mask of shape \(1, 2\)"),
    "rows": (lambda: call([True, False]), ValueError, "the same batch size"),
    "forgotten": (lambda: call(), ValueError, "a list of 2 values.*a boolean"),
}


def call(*mask):
    hyper, x, c = over("dense")
    return hyper(x, condition=[c, *mask])


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case):
    attempt, error, message = case
    with pytest.raises(error, match=f"(?s){message}"):
        attempt()


def test_noise_is_drawn_for_each_row_of_a_mask():
    hyper, *_ = over("dense", condition=(NoiseCondition(3),))
    for weight in hyper.generated_weights.values():
        weight.gate.assign(1.0)
    first, second = to_numpy(hyper.generate([True, True])["dense/kernel"])
    assert np.abs(first - second).max() > 0


def test_a_mask_may_have_one_column(rng):
    hyper, x, c = over("dense")
    outputs = to_numpy(hyper(x, condition=[c, MASK]))
    np.testing.assert_array_equal(to_numpy(hyper(x, condition=[c, MASK[:, None]])), outputs)
