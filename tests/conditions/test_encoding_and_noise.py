"""The encoding of continuous hyper-parameters, and random conditions."""

import keras
import numpy as np
import pytest

from helpers import JIT, to_numpy
from keras_hyper import HyperDense, MagnitudeInvariantEncoding, NoiseCondition


def test_the_encoding_follows_its_equation(rng):
    encode = MagnitudeInvariantEncoding(low=[0.0, -2.0], high=[1.0, 3.0])
    x = rng.uniform([0, -2], [1, 3], size=(7, 2))
    t = (x - [0, -2]) / [1, 5] * np.pi / 2
    expected = np.sqrt(2) * np.concatenate([np.cos(t), np.sin(t)], axis=-1)
    points = to_numpy(encode(x.astype("float32")))
    np.testing.assert_allclose(points, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.mean(points**2, axis=-1), 1.0, rtol=1e-5)
    alone = to_numpy(encode(x[0].astype("float32")))
    np.testing.assert_allclose(alone, points[0], rtol=1e-5, atol=1e-6)


def test_weights_are_as_large_for_small_values_as_for_large_ones(rng):
    """As they are, values a thousand times smaller make weights that do not differ."""
    encode = MagnitudeInvariantEncoding()
    layer = HyperDense(30)
    values = np.asarray([[0.0], [0.001], [1.0]], "float32")
    layer.build((None, 40), (None, 2))
    kernels = to_numpy(layer.generate(encode(values))["kernel"])
    sizes = np.sqrt(np.mean(kernels**2, axis=(1, 2)))
    np.testing.assert_allclose(sizes, sizes[0], rtol=0.2)
    assert np.abs(kernels[2] - kernels[0]).max() > sizes[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1.0, "high": 1.0}, "`high` must be above `low`"),
        ({"low": [0, 3], "high": 2}, "`high` must be above `low`"),
        ({"low": [0, 1], "high": [1, 2, 3]}, "equal lengths"),
        ({"low": "0"}, "`low` must be a finite number"),
        ({"high": float("inf")}, "`high` must be a finite number"),
    ],
)
def test_bad_ranges_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MagnitudeInvariantEncoding(**arguments)


def test_bad_inputs_are_named():
    encode = MagnitudeInvariantEncoding([0, 0], 1.0)
    with pytest.raises(ValueError, match="with n=2"):
        encode(np.zeros((4, 3), "float32"))
    with pytest.raises(ValueError, match="takes inputs of shape"):
        MagnitudeInvariantEncoding()(np.zeros((4, 3, 2), "float32"))
    with pytest.raises(TypeError, match="must be floating point"):
        encode(np.zeros((4, 2), "int32"))


def test_noise_is_standard_normal_new_at_every_call_and_seeded():
    noise, again = NoiseCondition(50, seed=3), NoiseCondition(50, seed=3)
    x = np.zeros((400, 2), "float32")
    first, second = to_numpy(noise(x)), to_numpy(noise(x))
    assert first.shape == (400, 50)
    assert np.abs(first - second).max() > 1
    assert first.mean() == pytest.approx(0, abs=0.03)
    assert first.std() == pytest.approx(1, abs=0.03)
    np.testing.assert_array_equal(first, to_numpy(again(x)))


def test_shared_noise_is_one_vector_for_the_batch():
    noise = NoiseCondition(5, shared=True)
    assert to_numpy(noise(np.zeros((4, 2), "float32"))).shape == (5,)
    assert NoiseCondition.from_config(noise.get_config()).shared


@pytest.mark.parametrize("jit", sorted({False, JIT}))
def test_weights_from_noise_train_and_vary(jit, rng):
    inputs = keras.Input((3,))
    outputs = HyperDense(2)(inputs, condition=NoiseCondition(4)(inputs))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse", jit_compile=jit)
    x = rng.normal(size=(8, 3)).astype("float32")
    model.fit(x, np.ones((8, 2), "float32"), verbose=0)
    one, other = model.predict(x, verbose=0), model.predict(x, verbose=0)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.export
def test_noise_is_new_in_an_exported_model_too(tmp_path, rng):
    import tensorflow as tf

    inputs = keras.Input((3,))
    model = keras.Model(inputs, HyperDense(2)(inputs, condition=NoiseCondition(4)(inputs)))
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    x = rng.normal(size=(8, 3)).astype("float32")
    one, other = to_numpy(served.serve(x)), to_numpy(served.serve(x))
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_values_are_not_rounded_before_they_are_scaled(policy):
    keras.config.set_dtype_policy(policy)
    encode = MagnitudeInvariantEncoding(low=np.float32(1e6), high=np.array([1e6 + 10]))
    values = np.array([[1e6 + 1], [1e6 + 3]], "float32")
    angles = np.array([[0.1], [0.3]]) * np.pi / 2
    expected = np.sqrt(2) * np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    points = encode(values)
    assert keras.backend.standardize_dtype(points.dtype) == encode.compute_dtype
    np.testing.assert_allclose(to_numpy(keras.ops.cast(points, "float32")), expected, rtol=0.005)
