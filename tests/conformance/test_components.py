"""Properties of generators, generated weights, kernels and initializers."""

import json

import keras
import numpy as np
import pytest

from conformance.components import GENERATORS, INITIALIZERS, KERNELS
from conformance.descriptors import kernels
from helpers import compiled, to_numpy
from keras_hyper import GeneratedWeight

over_generators = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
over_conditions = pytest.mark.parametrize(
    "condition_shape", [None, (None, 4)], ids=["static", "conditioned"]
)


def revived(layer):
    """Returns the layer as a file would give it back: configured, and built."""
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    return keras.saving.deserialize_keras_object(config)


@over_generators
def test_generators_revive_unbuilt_and_built(make):
    generator = make()
    assert json.dumps(revived(generator).get_config()) == json.dumps(generator.get_config())
    assert revived(generator).built == generator.built
    generator.prepare((5, 4), keras.initializers.GlorotUniform())
    other = revived(generator)
    assert other.built
    assert [w.shape for w in other.weights] == [w.shape for w in generator.weights]
    assert other.prepare((5, 4), keras.initializers.GlorotUniform()) > 0
    other.set_weights(generator.get_weights())
    embedding = np.ones(generator.embedding_shape((5, 4)), "float32")
    np.testing.assert_array_equal(to_numpy(other(embedding)), to_numpy(generator(embedding)))


@over_generators
@over_conditions
def test_generated_weights_revive(make, condition_shape):
    generated = GeneratedWeight(make(), (5, 4), "he_normal")
    generated.build(condition_shape)
    other = revived(generated)
    assert json.dumps(other.get_config()) == json.dumps(generated.get_config())
    assert other.conditioned is generated.conditioned
    other.set_weights(generated.get_weights())
    condition = None if condition_shape is None else np.ones((2, 4), "float32")
    np.testing.assert_array_equal(to_numpy(other(condition)), to_numpy(generated(condition)))


@over_generators
@over_conditions
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64", "bfloat16"])
def test_generated_weights_follow_their_policy(make, condition_shape, policy):
    keras.config.set_dtype_policy(policy)
    generated = GeneratedWeight(make(), (5, 4))
    generated.build(condition_shape)
    policy = keras.dtype_policies.get(policy)
    assert {w.dtype for w in generated.weights} <= {policy.variable_dtype}
    condition = None if condition_shape is None else np.ones((2, 4), "float32")

    def materialize():
        kernel = generated.kernel(condition)
        assert kernel.shape == (5, 4)
        assert kernel.batched is (condition_shape is not None)
        return kernel.materialize()

    weight = compiled(materialize, generated)()
    assert keras.backend.standardize_dtype(weight.dtype) == policy.compute_dtype
    assert np.isfinite(to_numpy(keras.ops.cast(weight, "float32"))).all()


def test_a_generator_of_another_precision_serves_too():
    generator = kernels()
    generated = GeneratedWeight(generator, (3, 3, 4, 4), dtype="mixed_float16")
    generated.build(None)
    assert {w.dtype for w in generator.weights} == {"float32"}
    assert keras.backend.standardize_dtype(generated().dtype) == "float16"


@pytest.mark.parametrize("make", KERNELS.values(), ids=KERNELS)
def test_products_with_a_kernel_are_those_with_its_weights(make, rng):
    kernel = make()
    weights = to_numpy(kernel.materialize())
    assert weights.shape == ((3, 8, 6) if kernel.batched else (8, 6))
    assert tuple(kernel.shape) == (8, 6)
    every = np.broadcast_to(weights, (3, 8, 6))
    x, more = (rng.normal(size=shape).astype("float32") for shape in ((3, 8), (3, 5, 8)))
    ids = np.array([[0, 7], [3, 3], [7, 1]])
    base = rng.normal(size=(8, 6)).astype("float32")
    for actual, expected in (
        (kernel.dense(keras.ops.convert_to_tensor(x)), np.einsum("bi,bio->bo", x, every)),
        (kernel.dense(keras.ops.convert_to_tensor(more)), np.einsum("bti,bio->bto", more, every)),
        (kernel.lookup(keras.ops.convert_to_tensor(ids)), every[np.arange(3)[:, None], ids]),
        (kernel.scaled(0.5).materialize(), 0.5 * weights),
        (kernel.times(keras.ops.convert_to_tensor(base)).materialize(), base * weights),
    ):
        np.testing.assert_allclose(to_numpy(actual), expected, rtol=1e-5, atol=1e-5)
    low = kernel.cast("bfloat16").materialize()
    assert keras.backend.standardize_dtype(low.dtype) == "bfloat16"


@pytest.mark.parametrize("make", INITIALIZERS.values(), ids=INITIALIZERS)
def test_initializers_revive_and_draw_by_their_seed(make):
    initializer = make(seed=3)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(initializer)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(initializer)
    draws = [to_numpy(each((4, 8))) for each in (initializer, again, make(seed=4))]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0.1
