"""Hypernetworks in the company of other things: precision, masks, files, assignments."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import JIT, to_numpy
from hypernetwork.targets import make_dense, make_lstm, make_normalized, make_several
from keras_hyper import ChunkedGenerator, Hypernetwork, LowRankGenerator, TaskEmbedding, clone
from keras_hyper.utils.graph import walk


def hyper_of(target, **kwargs):
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3, activation="tanh")
    return Hypernetwork(target, generator=generator, **kwargs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_half_precision_everywhere(policy, rng, tmp_path):
    x = rng.normal(size=(4, 5)).astype("float32")
    keras.config.set_dtype_policy(policy)
    try:
        hyper = hyper_of(make_dense(), condition=TaskEmbedding(3, 4), output_regularization=0.1)
        inputs = keras.Input((5,))
        outer = keras.Model(inputs, hyper.at(1)(inputs))
        y = hyper(x, condition=1)
        for other in (hyper.at(1)(x), outer(x), hyper.bake(1)(x)):
            assert keras.backend.standardize_dtype(other.dtype) == "bfloat16"
            np.testing.assert_allclose(
                to_numpy(ops.cast(other, "float32")), to_numpy(ops.cast(y, "float32")), atol=0.1
            )
        hyper.end_task()
        model = hyper.at(1)
        model.compile("sgd", "mse", jit_compile=JIT)
        model.fit(x, np.zeros((4, 3)), verbose=0)
        hyper.save_adapter(tmp_path / "small.npz")
        hyper.load_adapter(tmp_path / "small.npz")
        named = hyper_of(make_normalized(), include="*kernel")
        named.save(tmp_path / "hyper.keras")
        again = keras.saving.load_model(tmp_path / "hyper.keras")
        np.testing.assert_array_equal(
            to_numpy(ops.cast(again(x), "float32")), to_numpy(ops.cast(named(x), "float32"))
        )
    finally:
        keras.config.set_dtype_policy("float32")


def test_an_adapted_normalization_is_kept(rng, tmp_path):
    x = rng.normal(3.0, 2.0, size=(20, 5)).astype("float32")
    scale = layers.Normalization(name="scale")
    scale.adapt(x)
    target = keras.Sequential([keras.Input((5,)), scale, layers.Dense(3, name="dense")])
    hyper = hyper_of(target, include="dense")
    assert list(hyper.generated_weights) == ["dense/kernel", "dense/bias"]
    expected = to_numpy(hyper(x))
    np.testing.assert_allclose(to_numpy(hyper.bake()(x)), expected, rtol=1e-5, atol=1e-6)
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(to_numpy(again(x)), expected, rtol=1e-5, atol=1e-6)


# Keras says so of its own Sequential models, and hands the mask on all the same.
@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("at", [False, True])
def test_a_mask_of_the_inputs_is_not_that_of_the_outputs(at, rng):
    hyper = hyper_of(make_lstm(), condition=2)
    c = np.ones(2, "float32")
    inputs = keras.Input((3, 2))
    masked = layers.Masking()(inputs)
    outputs = hyper.at(c)(masked) if at else hyper(masked, condition=c)
    model = keras.Model(inputs, outputs)
    x = rng.normal(size=(4, 3, 2)).astype("float32")
    x[:, 2] = 0
    # The target's own LSTM sees the mask.
    np.testing.assert_allclose(
        to_numpy(model(x)), to_numpy(hyper(x[:, :2], condition=c)), rtol=1e-5, atol=1e-6
    )
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((4, 2)), verbose=0)


class Seen(layers.Layer):
    """Keeps the mask that its inputs carry."""

    supports_masking = True

    def call(self, inputs, mask=None):
        self.mask = mask
        return inputs


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_masks_reach_the_target_and_leave_it(rng):
    ids = keras.Input((3,), dtype="int32")
    target = keras.Model(ids, layers.Dense(2)(layers.Embedding(5, 4, mask_zero=True)(ids)))
    hyper, c = hyper_of(target, condition=2), rng.normal(size=(4, 2)).astype("float32")
    x = np.array([[1, 2, 0], [3, 0, 0], [1, 1, 1], [0, 0, 0]], "int32")
    for condition in (c[0], c):
        seen = Seen()
        seen(hyper(x, condition=condition))
        np.testing.assert_array_equal(to_numpy(seen.mask), x != 0)
    hyper = hyper_of(make_lstm(), condition=2)
    sequences = rng.normal(size=(4, 3, 2)).astype("float32")
    sequences[:, 1:] = 0
    masked = layers.Masking()(sequences)
    short = hyper(sequences[:, :1], condition=c)
    np.testing.assert_allclose(
        to_numpy(hyper(masked, condition=c)), to_numpy(short), rtol=1e-5, atol=1e-6
    )


class Unregistered(keras.Model):
    """A class that only its user knows."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3, name="dense")

    def call(self, inputs):
        return self.dense(inputs)


def test_custom_objects_reach_the_target(rng, tmp_path):
    hyper = hyper_of(Unregistered())
    x = rng.normal(size=(4, 5)).astype("float32")
    expected = to_numpy(hyper(x))
    hyper.save(tmp_path / "hyper.keras")
    objects = {"Unregistered": Unregistered}
    again = keras.saving.load_model(tmp_path / "hyper.keras", custom_objects=objects)
    np.testing.assert_allclose(to_numpy(again(x)), expected, rtol=1e-5)
    with keras.saving.custom_object_scope(objects):
        again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(to_numpy(again(x)), expected, rtol=1e-5)
    assert clone(hyper).count_params() == hyper.count_params()


def test_a_frozen_hypernetwork_trains_nothing():
    hyper = hyper_of(make_dense(), composition="add", base_trainable=True)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layers.Dense(2)(hyper(inputs)))
    hyper.trainable = False
    assert len(model.trainable_variables) == 2


def test_freezing_reaches_trainable_layers_in_frozen_ones():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Dense(3)])
    hyper = hyper_of(keras.Sequential([keras.Input((5,)), inner]), composition="add")
    inner.trainable = False
    inner.layers[1].trainable = True
    hyper.trainable = False
    assert not any(layer.trainable for layer in walk(hyper))


def test_what_is_generated_does_not_change_with_what_is_frozen(rng, tmp_path):
    target = make_lstm()
    first, second = hyper_of(target), hyper_of(make_lstm())
    second.target.get_layer("head").trainable = False
    x = rng.normal(size=(4, 3, 2)).astype("float32")
    for hyper in (first, second):
        hyper.save(tmp_path / "hyper.keras")
        again = keras.saving.load_model(tmp_path / "hyper.keras")
        assert list(again.generated_weights) == list(hyper.generated_weights)
        np.testing.assert_allclose(to_numpy(again(x)), to_numpy(hyper(x)), rtol=1e-5, atol=1e-6)


def test_weights_are_applied_with_the_state_of_a_task(rng):
    hyper = hyper_of(make_normalized(), condition=TaskEmbedding(2, 3), state_per_task=True)
    x = rng.normal(size=(4, 5)).astype("float32")
    weights = hyper.generate(1)
    np.testing.assert_allclose(
        to_numpy(hyper.apply(weights, x, task=1)), to_numpy(hyper(x, condition=1)), rtol=1e-6
    )
    with pytest.raises(ValueError, match="needs a `task`"):
        hyper.apply(weights, x)


def test_a_model_at_a_condition_is_cloned():
    model = hyper_of(make_dense(), condition=TaskEmbedding(2, 3)).at(1)
    assert clone(model).count_params() == model.count_params()


def test_shapes_of_outputs_are_known_without_a_call():
    hyper = hyper_of(make_several(), condition=TaskEmbedding(2, 3))
    shapes = {"a": (None, 3), "b": (None, 4)}
    for model in (hyper, hyper.at(1)):
        assert model.compute_output_shape(shapes) == {"p": (None, 2), "q": (None, 3)}


class Counting(layers.Layer):
    """A layer that assigns to a weight which is trained elsewhere."""

    def build(self, shape):
        self.count = self.add_weight(name="count", shape=(1,), initializer="zeros")

    def call(self, inputs):
        self.count.assign(self.count + 1)
        return inputs + self.count


def test_what_the_target_assigns_is_kept_or_refused(rng):
    x = rng.normal(size=(4, 5)).astype("float32")

    def target():
        return keras.Sequential([keras.Input((5,)), layers.Dense(3, name="a"), Counting(name="b")])

    hyper = hyper_of(target(), condition=2, include="a")
    for _ in range(2):
        hyper(x, condition=np.ones(2, "float32"))
    np.testing.assert_array_equal(to_numpy(hyper.runner.ordinary["b/count"].value), [2])
    # Only layers that hold generated weights are called for each sample.
    hyper(x, condition=np.ones((4, 2), "float32"))
    np.testing.assert_array_equal(to_numpy(hyper.runner.ordinary["b/count"].value), [3])
    with pytest.raises(ValueError, match="assigns to its weight 'b/count'"):
        hyper_of(target())(x)


def test_constrained_weights_stay_stored():
    target = keras.Sequential(
        [keras.Input((5,)), layers.Dense(3, kernel_constraint="non_neg", name="a")]
    )
    hyper = hyper_of(target)
    assert list(hyper.generated_weights) == ["a/bias"]
    assert "constraint" in hyper.ordinary_reasons["a/kernel"]


@keras.saving.register_keras_serializable("company")
class Tied(keras.Model):
    """Reads the table of its embedding for its outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(5, 4, name="embedding")
        self.hidden = layers.Dense(4, name="hidden")

    def call(self, ids):
        x = self.hidden(self.embedding(ids))
        return keras.ops.matmul(x, keras.ops.transpose(self.embedding.embeddings))


@pytest.mark.parametrize(
    "options",
    [{}, {"generator": LowRankGenerator(1), "composition": "add", "include": "*embeddings"}],
    ids=["replace", "add"],
)
def test_a_weight_that_other_layers_read_is_the_generated_one(options, rng):
    hyper = Hypernetwork(Tied(), condition=2, **options)
    ids = np.array([[1, 2, 3], [0, 4, 4]], "int32")
    c = rng.normal(size=(2, 2)).astype("float32")
    hyper(ids, condition=c[0])
    for weight in hyper.generated_weights.values():
        if weight.gate is not None:
            weight.gate.assign(0.5)
    outputs = to_numpy(hyper(ids, condition=c[0]))
    np.testing.assert_allclose(outputs, to_numpy(hyper.bake(c[0])(ids)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="'embedding/embeddings' outside of the layer"):
        hyper(ids, condition=c)
    only = Hypernetwork(Tied(), condition=2, include="hidden")
    each = to_numpy(only(ids, condition=c))
    for i in range(2):
        one = to_numpy(only.bake(c[i])(ids[i : i + 1]))
        np.testing.assert_allclose(each[i : i + 1], one, rtol=1e-4, atol=1e-5)


def test_a_layer_that_assigns_to_a_generated_weight_of_another_raises(rng):
    target = keras.Sequential(
        [keras.Input((5,)), layers.SpectralNormalization(layers.Dense(3), name="norm")]
    )
    hyper = hyper_of(target, include="*kernel")
    x = rng.normal(size=(4, 5)).astype("float32")
    with pytest.raises(ValueError, match="assigns to its weight .*kernel"):
        hyper(x, training=True)
