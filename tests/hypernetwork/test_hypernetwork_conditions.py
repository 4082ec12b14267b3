"""What the weights of a `Hypernetwork` can depend on, and how they are used."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT, to_numpy
from hypernetwork.targets import make_dense, make_several, several_inputs
from keras_hyper import (
    ChunkedGenerator,
    Hypernetwork,
    LinearGenerator,
    MagnitudeInvariantEncoding,
    NoiseCondition,
    TaskEmbedding,
)


def hyper_of(target=None, **kwargs):
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3, activation="tanh")
    return Hypernetwork(target or make_dense(), generator=generator, **kwargs)


@pytest.fixture
def x(rng):
    return rng.normal(size=(4, 5)).astype("float32")


@pytest.mark.parametrize(
    ("condition", "one", "rows"),
    [
        (3, np.ones(3, "float32"), np.arange(12, dtype="float32").reshape(4, 3)),
        (TaskEmbedding(5, 3), 2, [0, 1, 2, 3]),
        (TaskEmbedding(5, 3), np.int64(2), np.array([[0], [1], [2], [4]])),
        (
            MagnitudeInvariantEncoding(0.0, 3.0),
            np.ones(2, "float32"),
            np.arange(8, dtype="float32").reshape(4, 2),
        ),
        (
            [TaskEmbedding(5, 3), 2],
            [2, np.ones(2, "float32")],
            [[0, 1, 2, 3], np.arange(8, dtype="float32").reshape(4, 2)],
        ),
    ],
    ids=["tensor", "ids", "arrays of ids", "encoding", "several"],
)
def test_one_condition_or_one_for_each_sample(condition, one, rows, x):
    hyper = hyper_of(condition=condition)
    y = to_numpy(hyper(x, condition=one))
    np.testing.assert_allclose(y, to_numpy(hyper.bake(one)(x)), rtol=1e-5, atol=1e-6)
    many = to_numpy(hyper(x, condition=rows))
    several = isinstance(condition, list)
    for i in range(4):
        own = [np.asarray(r)[i] for r in rows] if several else np.asarray(rows)[i]
        if np.asarray(rows[0] if several else rows).ndim == 2 and isinstance(
            condition, TaskEmbedding
        ):
            own = own[0]
        np.testing.assert_allclose(
            many[i], to_numpy(hyper(x, condition=own))[i], rtol=1e-4, atol=1e-5
        )


def test_parts_with_and_without_rows_go_together(x):
    hyper = hyper_of(condition=[TaskEmbedding(5, 3), 2])
    c = np.arange(8, dtype="float32").reshape(4, 2)
    np.testing.assert_allclose(
        to_numpy(hyper(x, condition=[1, c])),
        to_numpy(hyper(x, condition=[[1, 1, 1, 1], c])),
        rtol=1e-6,
    )


@pytest.mark.parametrize("shared", [False, True])
def test_noise_needs_nothing_and_is_fresh(shared, x):
    hyper = hyper_of(condition=NoiseCondition(3, shared=shared, seed=1))
    first, second = to_numpy(hyper(x)), to_numpy(hyper(x))
    assert np.abs(first - second).max() > 1e-3
    same = np.repeat(x[:1], 4, axis=0)
    spread = np.abs(np.diff(to_numpy(hyper(same)), axis=0)).max()
    assert spread < 1e-5 if shared else spread > 1e-3
    hyper.compile("sgd", "mse")
    hyper.fit(x, np.zeros((4, 3)), verbose=0)


def test_a_network_can_make_the_condition(rng, x):
    context = keras.Sequential([layers.Flatten(), layers.Dense(3)])
    hyper = hyper_of(condition=context)
    images = rng.normal(size=(4, 2, 2)).astype("float32")
    assert hyper(x, condition=images).shape == (4, 3)
    assert any(v is context.weights[0] for v in hyper.trainable_variables)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.Dense(3), (6,)),
        (lambda: keras.Sequential([layers.Flatten(), layers.Dense(3)]), (2, 3)),
        (lambda: keras.Sequential([keras.Input((2, 3)), layers.Flatten()]), (2, 3)),
    ],
    ids=["layer", "model", "built model"],
)
def test_a_network_takes_one_value_without_a_batch(make, shape, rng, x, tmp_path):
    hyper = hyper_of(condition=make())
    values = rng.normal(size=(4, *shape)).astype("float32")
    own = to_numpy(hyper(x, condition=values))
    hyper.save(tmp_path / "hyper.keras")
    for model in (hyper, keras.saving.load_model(tmp_path / "hyper.keras")):
        for i, value in enumerate(values):
            for one in (model.at(value), model.bake(value)):
                np.testing.assert_allclose(to_numpy(one(x))[i], own[i], rtol=1e-4, atol=1e-5)


def test_a_layer_makes_the_condition_from_one_value_at_the_first_call(x):
    hyper = hyper_of(condition=layers.Dense(3))
    assert hyper(x, condition=np.ones(6, "float32")).shape == (4, 3)
    assert hyper(x, condition=np.ones((4, 6), "float32")).shape == (4, 3)


def test_inputs_of_that_name_are_left_alone_beside_noise(rng):
    inputs = {name: keras.Input((5,), name=name) for name in ("inputs", "condition")}
    target = keras.Model(inputs, layers.Dense(3)(inputs["inputs"] + inputs["condition"]))
    hyper = hyper_of(target, condition=NoiseCondition(3))
    ones = np.ones((4, 5), "float32")
    assert hyper({"inputs": ones, "condition": ones}).shape == (4, 3)


@pytest.mark.parametrize("shared", [False, True])
def test_noise_is_drawn_once_for_what_is_generated_without_inputs(shared, x):
    noise = NoiseCondition(2, shared=shared)
    hyper = hyper_of(condition=[TaskEmbedding(3, 4), noise])
    assert hyper.generate(1)["b/kernel"].shape == (6, 3)
    rows = hyper.generate([1, 2, 2])["b/kernel"]
    assert rows.shape == (3, 6, 3)
    spread = np.abs(to_numpy(rows[1]) - to_numpy(rows[2])).max()
    assert spread < 1e-6 if shared else spread > 1e-3
    alone = hyper_of(condition=NoiseCondition(2, shared=shared))
    drawn = [to_numpy(alone.bake()(x)) for _ in range(2)]
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-3


@pytest.mark.parametrize("condition", [np.array([0, 1, 1, 0], "int32"), None], ids=["rows", "none"])
def test_fit_evaluate_and_predict_take_one_dict(condition, rng, x):
    hyper = hyper_of(condition=None if condition is None else TaskEmbedding(2, 3))
    data = x if condition is None else {"inputs": x, "condition": condition}
    before = [to_numpy(v.value).copy() for v in hyper.trainable_variables]
    hyper.compile("sgd", "mse", jit_compile=JIT)
    hyper.fit(data, rng.normal(size=(4, 3)).astype("float32"), epochs=2, verbose=0)
    for v, old in zip(hyper.trainable_variables, before, strict=True):
        assert np.abs(to_numpy(v.value) - old).max() > 0, v.path
    expected = to_numpy(hyper(x) if condition is None else hyper(x, condition=condition))
    np.testing.assert_allclose(hyper.predict(data, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(hyper.evaluate(data, np.zeros((4, 3)), verbose=0))


def test_inputs_and_outputs_can_be_dicts(rng):
    hyper = hyper_of(make_several(), condition=2)
    x, c = several_inputs(rng, 4), rng.normal(size=(4, 2)).astype("float32")
    outputs = hyper({"inputs": x, "condition": c})
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {"p": (4, 2), "q": (4, 3)}
    hyper.compile("sgd", {"p": "mse", "q": "mse"})
    hyper.fit(
        {"inputs": x, "condition": c}, {"p": np.zeros((4, 2)), "q": np.zeros((4, 3))}, verbose=0
    )


def test_it_is_a_part_of_functional_models(rng, x):
    hyper = hyper_of(condition=2)
    inputs, condition = keras.Input((5,)), keras.Input((2,))
    model = keras.Model([inputs, condition], layers.Dense(1)(hyper(inputs, condition=condition)))
    c = rng.normal(size=(4, 2)).astype("float32")
    model.compile("sgd", "mse", jit_compile=JIT)
    model.fit([x, c], np.zeros((4, 1)), verbose=0)
    head = model.layers[-1]
    np.testing.assert_allclose(
        to_numpy(model([x, c])), to_numpy(head(hyper(x, condition=c))), rtol=1e-6
    )
    assert keras.models.clone_model(model).count_params() == model.count_params()


def test_a_model_at_a_condition_shares_all_variables(rng, x, tmp_path):
    hyper = hyper_of(condition=TaskEmbedding(3, 2))
    model = hyper.at(1)
    assert [v is w for v, w in zip(model.variables, hyper.variables, strict=True)]
    model.compile("sgd", "mse", jit_compile=JIT)
    other = to_numpy(hyper(x, condition=2))
    model.fit(x, rng.normal(size=(4, 3)), verbose=0)
    expected = to_numpy(hyper(x, condition=1))
    np.testing.assert_allclose(to_numpy(model(x)), expected, rtol=1e-6)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(to_numpy(hyper(x, condition=2)) - other).max() > 0
    np.testing.assert_allclose(to_numpy(model.bake()(x)), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "at.keras")
    again = keras.saving.load_model(tmp_path / "at.keras")
    np.testing.assert_allclose(to_numpy(again(x)), expected, rtol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
def test_generated_weights_can_be_changed_and_applied(batched, rng, x):
    hyper = hyper_of(condition=2)
    c = rng.normal(size=(4, 2) if batched else 2).astype("float32")
    weights = hyper.generate(c)
    assert (
        list(weights)
        == list(hyper.generated_weights)
        == ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    )
    np.testing.assert_allclose(
        to_numpy(hyper.apply(weights, x)), to_numpy(hyper(x, condition=c)), rtol=1e-5, atol=1e-6
    )
    weights = {**weights, "b/bias": weights["b/bias"] + 1}
    np.testing.assert_allclose(
        to_numpy(hyper.apply(weights, x)), to_numpy(hyper(x, condition=c)) + 1, rtol=1e-4, atol=1e-5
    )


def test_a_generator_of_one_shape_is_copied_for_each_weight():
    hyper = Hypernetwork(make_dense(), generator=LinearGenerator(2), include="*kernel")
    first, second = (weight.generator for weight in hyper.generated_weights.values())
    assert first is not second
    assert first.head.units == 30
    assert second.head.units == 18
