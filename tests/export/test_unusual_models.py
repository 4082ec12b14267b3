"""Exports of models that are put together in ways that are less usual."""

import keras
import numpy as np
import pytest
from keras import layers

from export.models import outputs_of, small_target
from helpers import CAN_EXPORT, to_numpy
from keras_hyper import (
    HyperConv2D,
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    TaskEmbedding,
    export_saved_model,
)

if not CAN_EXPORT:
    pytest.skip("needs TensorFlow, and a backend that exports", allow_module_level=True)

import tensorflow as tf

ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow's own functions"
)
CLOSE = 1e-5


def loaded(model, path, **kwargs):
    exported = export_saved_model(model, path, **kwargs)
    saved = tf.saved_model.load(str(path))

    def call(endpoint, **inputs):
        outputs = saved.signatures[endpoint](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return exported, saved, call


def test_layers_that_share_a_context_network(rng, tmp_path):
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    context = layers.Dense(4)(c)
    y = HyperDense(5, name="first")(x, condition=context)
    y = HyperDense(2, name="second")(y, condition=context)
    model = keras.Model([x, c], y)
    _, _, call = loaded(model, tmp_path / "saved", xla=False)
    x, c = rng.normal(size=(4, 5)).astype("float32"), rng.normal(size=(4, 3)).astype("float32")
    weights = call("generate", c=c)
    assert set(weights) == {"first_kernel", "second_kernel"}
    outputs = call("apply", x=x, **weights)["outputs"]
    np.testing.assert_allclose(outputs, to_numpy(model([x, c])), atol=CLOSE)


def test_one_task_holds_no_embeddings_of_the_others(rng, tmp_path):
    hyper = Hypernetwork(small_target(), condition=TaskEmbedding(50, 8))
    _, saved, call = loaded(hyper.at(3), tmp_path / "saved", xla=False)
    stored = sum(int(np.prod(v.shape)) for v in saved.all_variables)
    assert stored == sum(
        int(np.prod(weight.weight_shape)) for weight in hyper.generated_weights.values()
    )
    x = rng.normal(size=(3, 5)).astype("float32")
    outputs = call("serving_default", inputs=x)["outputs"]
    np.testing.assert_allclose(outputs, to_numpy(hyper(x, condition=3)), atol=CLOSE)


def test_a_conditioned_recurrent_target(rng, tmp_path):
    target = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4)])
    hyper = Hypernetwork(target, condition=TaskEmbedding(4, 3))
    exported, _, call = loaded(hyper, tmp_path / "saved")
    x, tasks = rng.normal(size=(3, 5, 3)).astype("float32"), np.array([0, 3, 1], "int32")
    expected = to_numpy(hyper(x, condition=tasks))
    for endpoint in ("serving_default", "serve_xla"):
        outputs = call(endpoint, inputs=x, condition=tasks)["outputs"]
        np.testing.assert_allclose(outputs, expected, atol=CLOSE)
    assert "time axis" in exported.left_out["step"]


def test_images_of_any_size(rng, tmp_path):
    model = keras.Sequential([keras.Input((None, None, 2), name="x"), HyperConv2D(3, 3)])
    _, _, call = loaded(model, tmp_path / "saved", xla=False)
    for size in (3, 6):
        x = rng.normal(size=(2, size, size + 1, 2)).astype("float32")
        outputs = call("serving_default", x=x)["outputs"]
        np.testing.assert_allclose(outputs, to_numpy(model(x)), atol=CLOSE)


def test_a_masked_target_streams(rng, tmp_path):
    target = keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.LSTM(3, name="lstm"),
        ]
    )
    model = Hypernetwork(target)
    _, _, call = loaded(model, tmp_path / "saved", xla=False)
    ids = rng.integers(1, 9, (2, 5)).astype("int32")
    states = call("initial_state", batch_size=2)
    for step in ids.T:
        outputs = call("step", ids=step, **states)
        states = {name: outputs[f"next_{name}"] for name in states}
    np.testing.assert_allclose(outputs["outputs"], to_numpy(model(ids)), atol=CLOSE)


def test_large_numbers_that_hardly_differ_stream(rng, tmp_path):
    scale = layers.Normalization(mean=101325.0, variance=9.0, invert=True, axis=None)
    model = keras.Sequential([keras.Input((None, 3), name="x"), HyperLSTM(4, hyper_units=3), scale])
    exported = export_saved_model(model, tmp_path / "saved", xla=False)
    assert "step" in exported.inputs


def test_a_hypernetwork_that_is_a_part_of_the_model(tmp_path):
    x, c = keras.Input((5,)), keras.Input((3,))
    hyper = Hypernetwork(small_target(), condition=3, name="inner")
    exported = export_saved_model(
        keras.Model([x, c], hyper(x, condition=c)), tmp_path / "saved", xla=False
    )
    assert "'inner' is a part of the model" in exported.left_out["generate"]


class Partial(keras.Model):
    """Returns an output that is None."""

    def __init__(self):
        super().__init__()
        self.dense = HyperDense(2)

    def call(self, inputs):
        return {"y": self.dense(inputs), "aside": None}


def test_an_output_that_is_none(rng, tmp_path):
    model, x = Partial(), rng.normal(size=(2, 4)).astype("float32")
    expected = to_numpy(model(x)["y"])
    _, _, call = loaded(
        model, tmp_path / "saved", xla=False, input_signature=keras.Input((4,), name="x")
    )
    outputs = call("serving_default", x=x)
    assert set(outputs) == {"y"}
    np.testing.assert_allclose(outputs["y"], expected, atol=CLOSE)


def named_weights():
    x = keras.Input((5,), name="dense_kernel")
    return Hypernetwork(keras.Model(x, layers.Dense(2, name="dense")(x)), condition=3)


def named_states():
    x = keras.Input((None, 5), name="lstm_h")
    return keras.Model(x, layers.LSTM(2, name="lstm")(x))


@pytest.mark.parametrize(
    ("make", "endpoint", "reason"),
    [
        (named_weights, "apply", r"the names of weights: ['dense_kernel']"),
        (named_states, "step", r"the names of states: ['lstm_h']"),
    ],
)
def test_inputs_with_names_of_something_else(make, endpoint, reason, tmp_path):
    exported = export_saved_model(make(), tmp_path / "saved", xla=False)
    assert set(exported.inputs) == {"serving_default"}
    assert reason in exported.left_out[endpoint]


def test_names_that_differ_in_the_size_of_letters_only(tmp_path):
    a, b = keras.Input((5,), name="A"), keras.Input((5,), name="a")
    with pytest.raises(ValueError, match="same name for a client.*case is ignored"):
        export_saved_model(keras.Model([a, b], HyperDense(2)(a + b)), tmp_path / "saved")


@ON_TENSORFLOW
def test_what_xla_cannot_compile_is_left_out(tmp_path):
    numbers = keras.Input((4,), dtype="int32", name="numbers")
    ids = layers.IntegerLookup(vocabulary=[10, 20, 30])(numbers)
    model = keras.Model(numbers, HyperDense(2)(layers.Flatten()(layers.Embedding(4, 3)(ids))))
    exported, _, call = loaded(model, tmp_path / "saved")
    assert set(exported.inputs) == {"serving_default"}
    assert "XLA cannot compile" in exported.left_out["serve_xla"]
    x = np.array([[10, 20, 30, 99]], "int32")
    (expected,) = outputs_of(model, {"numbers": x}).values()
    np.testing.assert_allclose(call("serving_default", numbers=x)["outputs"], expected, atol=CLOSE)


class Counter(layers.Layer):
    """Counts its calls."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.count.assign(self.count + 1)
        return inputs + 0.0


@ON_TENSORFLOW
def test_an_export_changes_nothing_of_the_model(tmp_path):
    counter = Counter()
    model = keras.Sequential([keras.Input((None, 3)), counter, HyperLSTM(2, hyper_units=2)])
    before = float(counter.count.numpy())
    assert "step" in export_saved_model(model, tmp_path / "saved", xla=False).inputs
    assert float(counter.count.numpy()) == before


def words(**kwargs):
    return layers.TextVectorization(vocabulary=["red", "green"], **kwargs)


@ON_TENSORFLOW
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layers.TextVectorization, "has no vocabulary"),
        (layers.StringLookup, "has no vocabulary"),
        (lambda: words(output_mode="multi_hot"), "one id of each word.*multi_hot"),
        (lambda: words(ragged=True), "one id of each word.*ragged"),
        (lambda: layers.StringLookup(vocabulary=["a"], invert=True), "one id of each.*invert"),
    ],
)
def test_text_layers_that_make_no_ids(text, message, tmp_path):
    model = keras.Sequential([keras.Input((None,), dtype="int32"), layers.Embedding(9, 3)])
    model.add(HyperLSTM(2, hyper_units=2))
    with pytest.raises(ValueError, match=message):
        export_saved_model(model, tmp_path / "saved", text=text(), xla=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ids", [[1.5, 2], [0, 1e12]])
def test_warm_up_requests_are_not_rounded(ids, tmp_path):
    hyper = Hypernetwork(small_target(), condition=TaskEmbedding(4, 3))
    sample = {"inputs": np.ones((2, 5)), "condition": np.array(ids)}
    with pytest.raises(ValueError, match=r"integers for \['condition'\]"):
        export_saved_model(hyper, tmp_path / "saved", warmup=[sample], xla=False)


class OfImages(keras.Model):
    """A model whose `call` has a name of its own for its argument."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def build(self, images_shape):
        self.dense.build(images_shape)

    def call(self, images):
        return self.dense(images)


def by_name():
    images = keras.Input((5,), name="images")
    return keras.Model(images, layers.Dense(3)(images))


class Backbone(keras.Model):
    """A functional model that is a class."""

    def __init__(self, **kwargs):
        images = keras.Input((5,), name="images")
        super().__init__(images, layers.Dense(3)(images), **kwargs)


def in_a_dict():
    inputs = {name: keras.Input((5,), name=name) for name in ("images", "masks")}
    return keras.Model(inputs, layers.Dense(3)(inputs["images"] * inputs["masks"]))


def in_a_list():
    inputs = [keras.Input((5,), name=name) for name in ("images", "masks")]
    return keras.Model(inputs, layers.Dense(3)(inputs[0] * inputs[1]))


@pytest.mark.parametrize("how", ["static", "conditioned", "at"])
@pytest.mark.parametrize("make", [OfImages, by_name, Backbone, in_a_dict, in_a_list])
def test_inputs_by_other_names(make, how, rng, tmp_path):
    names = ["images", "masks"] if make in (in_a_dict, in_a_list) else ["images"]
    arrays = {name: rng.normal(size=(4, 5)).astype("float32") for name in names}
    data = {in_a_dict: arrays, in_a_list: list(arrays.values())}.get(make, arrays["images"])
    model = Hypernetwork(make(), condition=None if how == "static" else 2)
    condition = rng.normal(size=(4, 2)).astype("float32")
    if how == "conditioned":
        expected = to_numpy(model(data, condition=condition))
        arrays["condition"] = condition
    else:
        model(data) if how == "static" else model(data, condition=condition)
        model = model if how == "static" else model.at(condition[0])
        expected = to_numpy(model(data))
    exported, saved, call = loaded(model, tmp_path / "saved", xla=False)
    endpoint = exported.inputs["serving_default"]
    if make is OfImages:  # Its inputs have no name that could be found out.
        arrays["inputs"] = arrays.pop("images")
    assert set(endpoint) == set(arrays)
    np.testing.assert_allclose(call("serving_default", **arrays)["outputs"], expected, atol=CLOSE)
    outputs = saved.serve(**{name: tf.constant(x) for name, x in arrays.items()})["outputs"]
    np.testing.assert_allclose(outputs.numpy(), expected, atol=CLOSE)
    outputs = saved.serve(*[tf.constant(arrays[name]) for name in endpoint])["outputs"]
    np.testing.assert_allclose(outputs.numpy(), expected, atol=CLOSE)


def test_a_model_of_its_own_names_with_a_signature(rng, tmp_path):
    model, x = OfImages(), rng.normal(size=(4, 5)).astype("float32")
    expected, signature = to_numpy(model(x)), keras.Input((5,), name="images")
    _, saved, call = loaded(model, tmp_path / "saved", input_signature=signature)
    np.testing.assert_allclose(call("serve_xla", images=x)["outputs"], expected, atol=CLOSE)
    np.testing.assert_allclose(saved.serve(images=x)["outputs"].numpy(), expected, atol=CLOSE)
