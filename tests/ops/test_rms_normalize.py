"""Scaling to a root mean square of 1, from the smallest numbers to the largest."""

import keras
import numpy as np
import pytest

from helpers import gradients, to_numpy
from keras_hyper import HyperDense, Hypernetwork, MLPGenerator
from keras_hyper.ops import rms_normalize


def run_compiled(function, x, compiled):
    """Returns what a function makes of a tensor, as a compiled function if there is a compiler."""
    if compiled and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, jit_compile=True)
    elif compiled and keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    return function(x)


def reference(x):
    x = x.astype("float64")
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + 1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("power", [-38, -20, -7, -4, 0, 4, 10, 15, 22, 37])
def test_it_follows_its_equation_at_every_magnitude(power, dtype, rng):
    if dtype == "float16" and not -7 <= power <= 4:
        return  # Beyond its range.
    x = keras.ops.cast(rng.normal(size=(3, 5)) * 10.0**power, dtype)
    y = rms_normalize(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    tolerance = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 2e-6, "float64": 1e-14}[dtype]
    expected = reference(to_numpy(keras.ops.cast(x, "float64")))
    actual = to_numpy(keras.ops.cast(y, "float64"))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-37)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("largest", "dtype"),
    [
        (1e38, "float32"),
        (3.4e38, "float32"),
        (3e38, "bfloat16"),
        (1e200, "float64"),
        (1.7e308, "float64"),
    ],
)
def test_it_follows_its_equation_up_to_the_largest_numbers(largest, dtype, compiled):
    x = np.array([[1.0, -0.5, 0.1], [1e-3, 0.0, 1.0], [0.0, 0.0, -1.0]]) * largest
    y = run_compiled(rms_normalize, keras.ops.cast(x, dtype), compiled)
    actual = to_numpy(keras.ops.cast(y, "float64"))
    tolerance = {"bfloat16": 1e-2, "float32": 2e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(actual, reference(x / largest * 1e20), rtol=tolerance)


def test_rows_of_different_magnitudes_do_not_meet(rng):
    x = rng.normal(size=(3, 5)) * np.array([[1e-30], [1.0], [1e30]])
    y = to_numpy(rms_normalize(x.astype("float32")))
    np.testing.assert_allclose(y, reference(x.astype("float32")), rtol=2e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_so_in_its_row(bad):
    x = np.array([[bad, 1, 2], [1, 2, 3]], "float32")
    y = to_numpy(rms_normalize(x))
    assert np.isnan(y[0, 0])
    np.testing.assert_allclose(y[1], reference(x[1:])[0], rtol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e22, 1e35, 1e36])
def test_gradients_are_finite_and_those_of_the_equation(scale, rng):
    x = (rng.normal(size=5) * scale).astype("float32")
    v = rng.normal(size=5).astype("float32")
    weights = keras.ops.convert_to_tensor(v)
    (actual,) = gradients(
        lambda t: keras.ops.sum(rms_normalize(t) * weights), keras.layers.Layer(), x
    )
    wide = x.astype("float64")
    r = 1 / np.sqrt(np.mean(wide**2) + 1e-7)
    expected = r * v - r**3 * wide * np.mean(wide * v)
    assert np.isfinite(actual).all()
    # Far below what float32 holds there are zeros.
    np.testing.assert_allclose(actual * scale, expected * scale, rtol=1e-4, atol=1e-5)


LAYERS = {
    "default": lambda: HyperDense(4),
    "mlp": lambda: HyperDense(4, generator=MLPGenerator((8,), normalize_condition=False)),
    "layer": lambda: HyperDense(4, generator=MLPGenerator((8,), normalization="layer")),
    "weight": lambda: HyperDense(4, generator=MLPGenerator((8,), normalization="weight")),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("scale", [1e-22, 1e22, 1e37])
def test_a_condition_of_any_magnitude_makes_weights_of_the_same(make, scale, rng):
    layer = make()
    layer.build((None, 6), (None, 3))
    c = rng.normal(size=(5, 3)).astype("float32")
    plain = to_numpy(layer.generate(c)["kernel"]).std()
    assert to_numpy(layer.generate(c * scale)["kernel"]).std() == pytest.approx(plain, rel=0.7)


def test_a_large_condition_of_a_hypernetwork_and_its_gradient(rng):
    target = keras.Sequential([keras.Input((5,)), keras.layers.Dense(40)])
    hyper = Hypernetwork(target, condition=3)
    c = (rng.normal(size=3) * 1e22).astype("float32")
    kernel = to_numpy(hyper.generate(c)["dense/kernel"])
    assert kernel.std() > 0.03
    x = rng.normal(size=(2, 5)).astype("float32")
    for g in gradients(lambda t: keras.ops.sum(hyper(t, condition=c) ** 2), hyper, x):
        assert np.isfinite(g).all()
