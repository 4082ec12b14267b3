"""What a target changes when it is called: statistics, random numbers, losses."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import JIT, to_numpy
from hypernetwork.targets import make_normalized
from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding
from keras_hyper.utils.graph import seed_states


def small():
    return ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3, activation="tanh")


def hyper_of(target, **kwargs):
    return Hypernetwork(target, generator=small(), **kwargs)


def statistics(model):
    return {v.name: to_numpy(v.value) for v in model.weights if v.name.startswith("moving_")}


def first_state(hyper):
    return next(iter(hyper.runner.state.values()))


def test_statistics_move_as_in_ordinary_training(rng):
    x = rng.normal(size=(8, 5)).astype("float32")
    hyper = hyper_of(make_normalized())
    plain = hyper.bake()
    hyper.compile("sgd", "mse", jit_compile=JIT)
    hyper.fit(x, np.zeros((8, 3)), epochs=1, batch_size=8, verbose=0)
    plain(x, training=True)
    for name, value in statistics(plain).items():
        np.testing.assert_allclose(statistics(hyper)[name], value, rtol=1e-5, err_msg=name)
    assert abs(statistics(hyper)["moving_mean"]).max() > 1e-3


def test_each_task_can_have_statistics_of_its_own(rng, tmp_path):
    hyper = hyper_of(make_normalized(), condition=TaskEmbedding(3, 4), state_per_task=True)
    x = rng.normal(size=(8, 5)).astype("float32")
    before = hyper.bake(0)
    model = hyper.at(1)
    model.compile("sgd", "mse", jit_compile=JIT)
    model.fit(x, np.zeros((8, 3)), batch_size=8, verbose=0)
    moved = to_numpy(first_state(hyper).value)
    assert np.abs(moved[1]).max() > 1e-3
    np.testing.assert_array_equal(moved[[0, 2]], 0)
    for name, value in statistics(hyper.bake(0)).items():
        np.testing.assert_array_equal(value, statistics(before)[name])
    # Each sample is normalised by the statistics of its task.
    ids = np.array([1, 0, 2, 1], "int32")
    together = to_numpy(hyper(x[:4], condition=ids))
    for i, task in enumerate(ids):
        np.testing.assert_allclose(
            together[i : i + 1], to_numpy(hyper.bake(int(task))(x[i : i + 1])), rtol=1e-4, atol=1e-5
        )
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(
        to_numpy(again(x, condition=1)), to_numpy(hyper(x, condition=1)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("per_sample", [False, True])
def test_dropout_is_fresh_for_every_sample_and_call(per_sample, rng):
    target = keras.Sequential([keras.Input((2,)), layers.Dense(300), layers.Dropout(0.5, seed=3)])
    hyper = hyper_of(target, condition=2, include="*kernel")
    c = rng.normal(size=(4, 2) if per_sample else (2,)).astype("float32")
    x = np.ones((4, 2), "float32")
    masks = [to_numpy(hyper(x, condition=c, training=True)) == 0 for _ in range(2)]
    for mask in masks:
        assert 0.4 < mask.mean() < 0.6
    for a, b in [
        *zip(masks[0], masks[1], strict=True),
        *zip(masks[0][:-1], masks[0][1:], strict=True),
    ]:
        assert 0.3 < np.mean(a == b) < 0.7
    assert not (to_numpy(hyper(x, condition=c)) == 0).any()


def test_dropout_in_inference_is_fresh_for_every_sample(rng):
    inputs = keras.Input((2,))
    dropped = layers.Dropout(0.5, seed=3)(layers.Dense(300, name="a")(inputs), training=True)
    hyper = hyper_of(keras.Model(inputs, dropped), condition=2, include="*kernel")
    c = np.repeat(rng.normal(size=(1, 2)), 4, axis=0).astype("float32")
    y = [to_numpy(hyper(np.ones((4, 2), "float32"), condition=c)) == 0 for _ in range(2)]
    for a, b in ((y[0][0], y[0][1]), (y[0][0], y[1][0])):
        assert 0.3 < np.mean(a == b) < 0.7


def test_dropout_is_fresh_at_every_step_of_fit(rng):
    target = keras.Sequential([keras.Input((2,)), layers.Dense(300), layers.Dropout(0.5, seed=3)])
    hyper = hyper_of(target)
    seeds = [to_numpy(v.value).copy() for v in seed_states(hyper.target)]
    hyper.compile("sgd", "mse", jit_compile=JIT)
    hyper.fit(np.ones((8, 2)), np.zeros((8, 300)), batch_size=4, verbose=0)
    (before,), (after,) = seeds, [to_numpy(v.value) for v in seed_states(hyper.target)]
    assert after[1] == before[1] + 2


def test_statistics_of_a_batch_are_of_the_outputs_of_all_samples(rng):
    x, c = rng.normal(size=(4, 5)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    target = keras.Sequential(
        [keras.Input((5,)), layers.Dense(3), layers.BatchNormalization(momentum=0.5, name="norm")]
    )
    hyper = hyper_of(target, condition=2)
    weights = {path: to_numpy(w) for path, w in hyper.generate(c).items()}
    inside = np.einsum("bi,bio->bo", x, weights["dense/kernel"]) + weights["dense/bias"]
    mean, variance = inside.mean(axis=0), inside.var(axis=0)
    expected = (inside - mean) / np.sqrt(variance + 1e-3)
    expected = expected * weights["norm/gamma"] + weights["norm/beta"]
    y = to_numpy(hyper(x, condition=c, training=True))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics(hyper)["moving_mean"], mean / 2, rtol=1e-4, atol=1e-6)
    hyper.target.get_layer("norm").trainable = False
    np.testing.assert_allclose(
        to_numpy(hyper(x, condition=c, training=True)), to_numpy(hyper(x, condition=c)), rtol=1e-6
    )


@pytest.mark.parametrize("rows", [False, True])
def test_a_stateful_layer_keeps_its_state(rows, rng):
    target = keras.Sequential(
        [keras.Input(batch_shape=(4, 3, 2)), layers.LSTM(3, stateful=True, name="lstm")]
    )
    hyper = hyper_of(target, condition=2)
    x = rng.normal(size=(4, 3, 2)).astype("float32")
    c = rng.normal(size=(4, 2)).astype("float32")
    first = to_numpy(hyper(x, condition=c if rows else c[0]))
    second = to_numpy(hyper(x, condition=c if rows else c[0]))
    assert np.abs(first - second).max() > 1e-4
    plain = keras.layers.LSTM(3)
    twice = np.concatenate([x, x], axis=1)
    for i in range(4):
        weights = hyper.generate(c[i if rows else 0])
        plain.build((None, 6, 2))
        plain.set_weights([to_numpy(w) for w in weights.values()])
        np.testing.assert_allclose(
            second[i : i + 1], to_numpy(plain(twice[i : i + 1])), rtol=1e-5, atol=1e-6
        )


def test_statistics_of_tasks_are_not_trained_on_several_tasks_at_once(rng):
    hyper = hyper_of(make_normalized(), condition=TaskEmbedding(3, 4), state_per_task=True)
    x = rng.normal(size=(2, 5)).astype("float32")
    with pytest.raises(ValueError, match="Train on batches of one task"):
        hyper(x, condition=np.array([0, 1], "int32"), training=True)
    assert hyper(x, condition=np.array([0, 1], "int32")).shape == (2, 3)


@pytest.mark.parametrize("condition", [None, "one", "per sample"])
def test_losses_of_the_target_count_once(condition, rng):
    target = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.1), name="a"),
            layers.Dense(
                2,
                activity_regularizer=keras.regularizers.L2(0.2),
                bias_regularizer=keras.regularizers.L2(0.3),
                bias_initializer=keras.initializers.RandomNormal(seed=1),
                name="b",
            ),
        ]
    )
    hyper = hyper_of(target, condition=condition and 2, include="*kernel")
    shape = {None: None, "one": (2,), "per sample": (4, 2)}[condition]
    c = None if shape is None else rng.normal(size=shape).astype("float32")
    x = rng.normal(size=(4, 3)).astype("float32")
    y = to_numpy(hyper(x, condition=c, training=True))
    losses = [float(to_numpy(loss)) for loss in hyper.losses]
    kernel = to_numpy(hyper.generate(c)["a/kernel"])
    samples = 4 if condition == "per sample" else 1
    bias = to_numpy(target.get_layer("b").bias.value)
    # A batch at once: as Keras counts it, which versions do differently.
    activity = layers.ActivityRegularization(l2=0.2)
    activity(y)
    at_once = float(to_numpy(activity.losses[0]))
    expected = [
        0.1 * np.square(kernel).sum() / samples,
        at_once,
        0.3 * np.square(bias).sum(),
    ]
    np.testing.assert_allclose(sorted(losses), sorted(expected), rtol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_weights_and_statistics_in_float32(policy, rng):
    x = rng.normal(size=(8, 5)).astype("float32")
    wide = hyper_of(make_normalized(), condition=2)
    keras.config.set_dtype_policy(policy)
    try:
        half = hyper_of(make_normalized(), condition=2)
    finally:
        keras.config.set_dtype_policy("float32")
    for a, b in zip(half.weights, wide.weights, strict=True):
        a.assign(b.value)
    # A value that half precision would round.
    first_state(half).assign(np.full(6, 1 + 2**-12, "float32"))
    c = rng.normal(size=2).astype("float32")
    y = half(x, condition=c, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    np.testing.assert_allclose(
        to_numpy(ops.cast(y, "float32")), to_numpy(wide(x, condition=c, training=True)), atol=0.15
    )
    assert all(v.dtype == "float32" for v in half.trainable_variables)
    start, batch_mean = 1 + 2**-12, to_numpy(first_state(half).value) * 2 - (1 + 2**-12)
    # momentum 0.5: what was there counts by half, to the last bit of float32.
    first_state(half).assign(np.full(6, start, "float32"))
    half(x, condition=c, training=True)
    np.testing.assert_allclose(
        to_numpy(first_state(half).value), (start + batch_mean) / 2, rtol=1e-6
    )
