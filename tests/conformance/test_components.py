"""Properties of generators and slots, which are public classes of their own."""

import json

import keras
import numpy as np
import pytest

from conformance.descriptors import chunked, kernels, low_rank, mlp, templates, tiles
from helpers import compiled, to_numpy
from keras_hyper import GeneratedWeight, LinearGenerator, TiledKernelGenerator
from keras_hyper.generators import DirectGenerator

GENERATORS = {
    "linear": lambda: LinearGenerator(3, normalize_condition=False),
    "linear-native": lambda: LinearGenerator(3, initialization="native"),
    "mlp": mlp,
    "tiled": tiles,
    "tiled-paper": lambda: TiledKernelGenerator((3, 2), 3, hidden_dim=2, initialization="paper"),
    "direct": DirectGenerator,
    "chunked": chunked,
    "low-rank": low_rank,
    "templates": templates(),
    "templates-softmax": templates("softmax", temperature=0.5),
    "templates-sigmoid": templates("sigmoid", normalize_condition=False),
}
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
def test_slots_revive(make, condition_shape):
    slot = GeneratedWeight(make(), (5, 4), "he_normal")
    slot.build(condition_shape)
    other = revived(slot)
    assert json.dumps(other.get_config()) == json.dumps(slot.get_config())
    assert other.conditioned is slot.conditioned
    other.set_weights(slot.get_weights())
    condition = None if condition_shape is None else np.ones((2, 4), "float32")
    np.testing.assert_array_equal(
        to_numpy(other(condition).materialize()), to_numpy(slot(condition).materialize())
    )


@over_generators
@over_conditions
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64", "bfloat16"])
def test_slots_follow_their_policy(make, condition_shape, policy):
    keras.config.set_dtype_policy(policy)
    slot = GeneratedWeight(make(), (5, 4))
    slot.build(condition_shape)
    policy = keras.dtype_policies.get(policy)
    assert {w.dtype for w in slot.weights} <= {policy.variable_dtype}
    condition = None if condition_shape is None else np.ones((2, 4), "float32")

    def materialize():
        kernel = slot(condition)
        assert kernel.shape == (5, 4)
        assert kernel.batched is (condition_shape is not None)
        return kernel.materialize()

    weight = compiled(materialize, slot)()
    assert keras.backend.standardize_dtype(weight.dtype) == policy.compute_dtype
    assert np.isfinite(to_numpy(keras.ops.cast(weight, "float32"))).all()


def test_a_generator_of_another_precision_serves_too():
    generator = kernels()
    slot = GeneratedWeight(generator, (3, 3, 4, 4), dtype="mixed_float16")
    slot.build(None)
    assert {w.dtype for w in generator.weights} == {"float32"}
    assert keras.backend.standardize_dtype(slot().materialize().dtype) == "float16"
