"""Exports of low-rank weights: the factors are served, kept and folded."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from helpers import CAN_EXPORT, shake, to_numpy
from keras_hyper import HyperDense, Hypernetwork, LowRankGenerator, export_saved_model

if not CAN_EXPORT:
    pytest.skip("needs TensorFlow, and a backend that exports", allow_module_level=True)

import tensorflow as tf

pytestmark = pytest.mark.xdist_group("export")
RANK, FAN_IN, UNITS = 2, 30, 20
FACTORS = RANK * (FAN_IN + UNITS)


def low_rank():
    return LowRankGenerator(rank=RANK, embedding_dim=3)


def adapted():
    target = keras.Sequential([keras.Input((FAN_IN,)), layers.Dense(UNITS, name="a")])
    return Hypernetwork(
        target, low_rank(), 4, include="*kernel", composition="add", base_trainable=True
    )


def conditioned():
    x, c = keras.Input((FAN_IN,), name="inputs"), keras.Input((4,), name="condition")
    return keras.Model([x, c], HyperDense(UNITS, generator=low_rank(), name="a")(x, condition=c))


def served(model, path):
    exported = export_saved_model(model, path, xla=False)
    loaded = tf.saved_model.load(str(path))
    loaded.signatures.keep = loaded

    def call(endpoint, **inputs):
        outputs = loaded.signatures[endpoint](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return exported, loaded, call


@pytest.mark.parametrize("make", [adapted, conditioned])
def test_a_server_keeps_the_factors_of_a_user(make, rng, tmp_path):
    model = make()
    shake(model, rng)
    exported, _, call = served(model, tmp_path / "saved")
    x, c = (rng.normal(size=(5, n)).astype("float32") for n in (FAN_IN, 4))
    data = model(x, condition=c) if make is adapted else model([x, c])
    kept = call("generate_factored", condition=c[:1])
    assert {n: v.shape for n, v in kept.items()} == {
        "a_kernel_left": (1, FAN_IN, RANK),
        "a_kernel_right": (1, RANK, UNITS),
    }
    assert sum(v.size for v in kept.values()) == FACTORS
    assert call("generate", condition=c[:1])["a_kernel"].shape == (1, FAN_IN, UNITS)
    assert sorted(exported.inputs["apply_factored"]) == sorted(["inputs", *kept])
    per_sample = call("generate_factored", condition=c)
    outputs = call("apply_factored", inputs=x, **per_sample)["outputs"]
    np.testing.assert_allclose(outputs, to_numpy(data), rtol=1e-4, atol=1e-5)
    # One row serves a batch.
    one = np.repeat(c[:1], 5, axis=0)
    expected = model(x, condition=one) if make is adapted else model([x, one])
    outputs = call("apply_factored", inputs=x, **kept)["outputs"]
    np.testing.assert_allclose(outputs, to_numpy(expected), rtol=1e-4, atol=1e-5)


def static():
    return keras.Sequential([keras.Input((FAN_IN,)), HyperDense(UNITS, generator=low_rank())])


def at_a_condition():
    target = keras.Sequential([keras.Input((FAN_IN,)), layers.Dense(UNITS, name="a")])
    return Hypernetwork(target, low_rank(), 4, include="*kernel").at(np.ones(4, "float32"))


@pytest.mark.parametrize("make", [static, at_a_condition])
def test_a_folded_low_rank_weight_is_its_factors(make, rng, tmp_path):
    model = make()
    shake(model, rng)
    _, loaded, call = served(model, tmp_path / "saved")
    stored = sum(math.prod(v.shape) for v in loaded.all_variables)
    assert stored == FACTORS + UNITS
    x = rng.normal(size=(5, FAN_IN)).astype("float32")
    (outputs,) = call("serving_default", inputs=x).values()
    np.testing.assert_allclose(outputs, to_numpy(model(x)), rtol=1e-4, atol=1e-5)


def test_what_is_added_to_a_stored_weight_is_folded_into_it(rng, tmp_path):
    layer = HyperDense(UNITS, generator=low_rank(), composition="add")
    model = keras.Sequential([keras.Input((FAN_IN,)), layer])
    _, loaded, _ = served(model, tmp_path / "saved")
    assert sum(math.prod(v.shape) for v in loaded.all_variables) == (FAN_IN + 1) * UNITS


@pytest.mark.parametrize(
    ("name", "missing", "present"),
    [("a_kernel_left", "_factored", ""), ("a_kernel", "", "_factored")],
)
def test_each_pair_of_halves_stands_alone(name, missing, present, tmp_path):
    x = keras.Input((FAN_IN,), name=name)
    target = keras.Model(x, layers.Dense(UNITS, name="a")(x))
    model = Hypernetwork(target, low_rank(), 4, include="*kernel")
    exported = export_saved_model(model, tmp_path / "saved", xla=False)
    assert set(exported.inputs) == {"serving_default", f"generate{present}", f"apply{present}"}
    assert set(exported.left_out) == {f"generate{missing}", f"apply{missing}"}
    for reason in exported.left_out.values():
        assert f"the names of weights: {[name]}" in reason
