"""A generated weight is called for a tensor, and asked for a `Kernel` by layers."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import outputs_and_gradients, to_numpy
from keras_hyper import GeneratedWeight, HyperDense, LowRankGenerator
from keras_hyper.kernels import LowRank


def built(condition_dim=None, dtype="float32", **kwargs):
    weight = GeneratedWeight(LowRankGenerator(rank=2), (5, 3), dtype=dtype, name="w", **kwargs)
    weight.build(None if condition_dim is None else (None, condition_dim))
    return weight


class Product(layers.Layer):
    """`x W(c)`, a user's layer."""

    def __init__(self, regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.made = GeneratedWeight(
            LowRankGenerator(rank=2, dtype=self.dtype_policy),
            (5, 3),
            regularizer=regularizer,
            dtype=self.dtype_policy,
        )

    def build(self, inputs_shape, condition_shape=None):
        self.made.build(condition_shape)

    def call(self, inputs, condition=None):
        return self.made.kernel(condition).dense(inputs)


@pytest.mark.parametrize("rows", [(), (4,)])
def test_a_call_returns_what_the_kernel_holds(rows, rng):
    weight = built(2)
    condition = keras.ops.convert_to_tensor(rng.normal(size=(*rows, 2)).astype("float32"))
    tensor, kernel = weight(condition), weight.kernel(condition)
    assert keras.ops.is_tensor(tensor)
    assert isinstance(kernel, LowRank)
    assert tuple(tensor.shape) == (*rows, 5, 3)
    np.testing.assert_array_equal(to_numpy(tensor), to_numpy(kernel.materialize()))


def test_a_weight_is_a_layer_of_a_functional_model(rng):
    condition = keras.Input((2,))
    model = keras.Model(condition, built(2)(condition))
    c = rng.normal(size=(4, 2)).astype("float32")
    expected = model.layers[-1].kernel(keras.ops.convert_to_tensor(c)).materialize()
    np.testing.assert_allclose(to_numpy(model(c)), to_numpy(expected), rtol=1e-6)


def test_a_remat_scope_changes_no_output_and_no_gradient(rng):
    x, c = rng.normal(size=(4, 5)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    results = []
    for scope in (contextlib.nullcontext(), keras.RematScope(mode="full")):
        keras.utils.set_random_seed(1)
        with scope:
            layer = Product()
            layer.build(x.shape, c.shape)

        def loss(layer=layer):
            outputs = layer(x, c)
            return ops.sum(outputs**2), outputs

        results.append(outputs_and_gradients(loss, layer))
    (first, gradients), (second, others) = results
    np.testing.assert_allclose(to_numpy(first), to_numpy(second), rtol=1e-6)
    assert len(gradients) == 4
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_kernel_adds_the_loss_of_its_regularizer_once_in_a_call(rng):
    layer = Product(regularizer=keras.regularizers.L2(0.1))
    x, c = np.ones((4, 5), "float32"), rng.normal(size=(4, 2)).astype("float32")
    for _ in range(2):
        layer(x, condition=c)
        (loss,) = layer.losses
    weights = to_numpy(layer.made(keras.ops.convert_to_tensor(c)))
    np.testing.assert_allclose(to_numpy(loss), 0.1 * np.square(weights).sum() / 4, rtol=1e-5)


def test_generating_adds_no_second_loss(rng):
    layer = HyperDense(3, kernel_regularizer="l2", generate_bias=True, bias_regularizer="l2")
    c = rng.normal(size=(4, 2)).astype("float32")
    layer(np.ones((4, 5), "float32"), condition=c)
    assert len(layer.losses) == 2
    layer.generate(c)
    assert len(layer.losses) == 2


@pytest.mark.parametrize("composition", ["replace", "add", "scale"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_a_kernel_has_the_dtype_of_a_call(policy, composition, rng):
    weight = built(2, dtype=policy, composition=composition)
    c = keras.ops.convert_to_tensor(rng.normal(size=(4, 2)).astype("float32"))
    kernel = weight.kernel(c).materialize()
    assert keras.backend.standardize_dtype(kernel.dtype) == weight.compute_dtype
    np.testing.assert_array_equal(to_numpy(kernel), to_numpy(weight(c)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_layer_in_mixed_precision_multiplies_in_half_precision(policy, rng):
    layer = Product(dtype=policy)
    x, c = np.ones((4, 5), "float32"), rng.normal(size=(4, 2)).astype("float32")
    outputs = layer(x, condition=c)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype
    wide = to_numpy(keras.ops.cast(layer.made(keras.ops.convert_to_tensor(c)), "float32"))
    # 5 products of numbers near 1, each rounded to 8 or 11 bits.
    expected = np.einsum("bi,bij->bj", x, wide)
    np.testing.assert_allclose(to_numpy(keras.ops.cast(outputs, "float32")), expected, atol=0.05)


@pytest.mark.parametrize("composition", ["replace", "add", "scale"])
def test_a_kernel_is_computed_in_the_dtype_of_its_weight(composition, rng):
    """Also in the call of a layer whose variables are read in half precision."""
    layer = Product(dtype="mixed_float16")
    layer.made = built(2, composition=composition)
    for variable in layer.made.variables:
        variable.assign(rng.normal(size=variable.shape))
    c = keras.ops.convert_to_tensor(rng.normal(size=(4, 2)).astype("float32"))
    seen = []
    layer.build = lambda *shapes: None
    layer.call = lambda inputs: seen.append(layer.made.kernel(c).materialize()) or inputs
    layer(np.ones((4, 5), "float16"))
    assert keras.backend.standardize_dtype(seen[-1].dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(seen[-1]), to_numpy(layer.made(c)))


def test_what_is_not_built_raises():
    weight = GeneratedWeight(LowRankGenerator(), (5, 3), name="w")
    with pytest.raises(ValueError, match="'w' is not built. Call `build"):
        weight.kernel()
