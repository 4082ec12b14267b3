"""Inputs and condition of a `Hypernetwork` in one dict, and what data may hold."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT, needs_keras, to_numpy
from hypernetwork.targets import Residual, make_dense, make_several
from keras_hyper import (
    ChunkedGenerator,
    HyperDense,
    Hypernetwork,
    NoiseCondition,
    TaskEmbedding,
)
from keras_hyper.export.interface import interface_of

BACKEND = keras.backend.backend()
IDS = np.array([0, 1, 1, 2], "int32")
X = np.random.default_rng(3).normal(size=(4, 5)).astype("float32")
CONTEXT = np.random.default_rng(4).normal(size=(4, 2)).astype("float32")
Y = np.ones((4, 3), "float32")


def hyper_of(target=None, condition=None):
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3, activation="tanh")
    hyper = Hypernetwork(
        make_dense() if target is None else target,
        generator=generator,
        condition=TaskEmbedding(3, 2) if condition is None else condition,
    )
    hyper.compile("sgd", "mse", jit_compile=JIT)
    return hyper


def named_input():
    image = keras.Input((5,), name="my image")
    return keras.Model(image, layers.Dense(3)(image))


def unnamed_inputs():
    inputs = [keras.Input((5,)), keras.Input((5,))]
    return keras.Model(inputs, layers.Dense(3)(layers.Add()(inputs)))


def dict_of_inputs():
    inputs = {name: keras.Input((5,), name=name) for name in ("b", "inputs")}
    return keras.Model(inputs, layers.Dense(3)(inputs["b"] - inputs["inputs"]))


# Target, condition, inputs and condition as a call takes them, and the flat form.
FORMS = {
    "one input": (make_dense, lambda: TaskEmbedding(3, 2), X, IDS, {"inputs": X, "condition": IDS}),
    "named input": (named_input, lambda: 2, X, CONTEXT, {"my_image": X, "condition": CONTEXT}),
    "several inputs": (
        unnamed_inputs,
        lambda: TaskEmbedding(3, 2),
        [X, 2 * X],
        IDS,
        {"inputs_0": X, "inputs_1": 2 * X, "condition": IDS},
    ),
    "inputs and conditions": (
        dict_of_inputs,
        lambda: [TaskEmbedding(3, 2), NoiseCondition(2, seed=1, shared=True), 2],
        {"b": X, "inputs": 2 * X},
        [IDS, CONTEXT],
        {"b": X, "inputs": 2 * X, "condition_0": IDS, "condition_1": CONTEXT},
    ),
    "conditions": (
        make_dense,
        lambda: [2, TaskEmbedding(3, 2)],
        X,
        [CONTEXT, IDS],
        {"inputs": X, "condition_0": CONTEXT, "condition_1": IDS},
    ),
    "subclassed": (Residual, lambda: 2, X, CONTEXT, {"inputs": X, "condition": CONTEXT}),
}


@pytest.mark.parametrize("form", FORMS)
def test_calls_and_training_take_the_keys_of_the_exported_endpoint(form):
    target, condition, inputs, value, flat = FORMS[form]
    hyper = hyper_of(target(), condition())
    noise = hyper.condition.parts[1:2] if "and" in form else []

    def outputs(data, **kwargs):
        for part in noise:  # The same noise for all.
            part.seed_generator.state.assign([1, 0])
        return to_numpy(hyper(data, **kwargs))

    expected = outputs(inputs, condition=value)
    assert list(interface_of(hyper).inputs) == list(flat)
    for data in ({"inputs": inputs, "condition": value}, flat):
        np.testing.assert_allclose(outputs(data), expected, rtol=1e-5, atol=1e-6)
        if not noise:
            np.testing.assert_allclose(
                hyper.predict(data, verbose=0), expected, rtol=1e-5, atol=1e-6
            )
    y = np.zeros_like(expected)
    hyper.fit(flat, y, batch_size=2, verbose=0)
    loss = hyper.evaluate(flat, y, verbose=0)
    assert np.isfinite(loss)
    if not noise:
        assert loss == pytest.approx(np.mean(outputs(flat) ** 2), rel=1e-4)


class Sum(keras.Model):
    """A subclassed target of a dict, whose inputs are not known before its first call."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs["a"] + inputs["b"])


def test_the_rest_of_a_dict_is_what_an_unknown_target_takes():
    hyper = hyper_of(Sum())
    first = to_numpy(hyper({"a": X, "b": X, "condition": IDS}))
    again = to_numpy(hyper({"inputs": {"a": X, "b": X}, "condition": IDS}))
    np.testing.assert_allclose(again, first, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(hyper({"a": X, "b": X}, condition=IDS)), first, rtol=1e-6)
    with pytest.raises(ValueError, match=r"Expected.*or \['a', 'b', 'condition'\]"):
        hyper({"a": X, "c": X, "condition": IDS})


WRONG_KEYS = {
    "other inputs": (make_several, {"a": 0, "c": 0, "condition": 0}, r"\['a', 'b', 'condition'\]"),
    "no condition": (make_several, {"a": 0, "b": 0}, r"\['a', 'b', 'condition'\]"),
    "an input too many": (make_dense, {"inputs": 0, "b": 0, "condition": 0}, r"\.$"),
    "another name": (named_input, {"image": 0, "condition": 0}, r"\['my_image', 'condition'\]"),
}


@pytest.mark.parametrize("case", WRONG_KEYS)
@pytest.mark.parametrize("method", ["call", "fit", "predict"])
def test_wrong_keys_are_listed(method, case):
    make, keys, expected = WRONG_KEYS[case]
    hyper = hyper_of(make())
    data = {key: np.zeros((4, 3), "float32") for key in keys}
    received = rf"keys {sorted(keys)}".replace("[", r"\[").replace("]", r"\]")
    message = rf"{received}.*Expected.*'inputs', 'condition'.*{expected}"
    with pytest.raises(ValueError, match=message):
        hyper(data) if method == "call" else run(hyper, method, data)


@pytest.mark.parametrize("part", ["condition_0", "condition_1"])
def test_a_part_of_a_condition_alone_is_a_wrong_key(part):
    hyper = hyper_of(condition=[2, 2])
    with pytest.raises(ValueError, match=r"or \['inputs', 'condition_0', 'condition_1'\]"):
        hyper({"inputs": X, part: CONTEXT})


METHODS = ["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"]


def run(hyper, method, data):
    y = [] if method.startswith("predict") else [Y]
    options = {} if method.endswith("batch") else {"verbose": 0}
    return getattr(hyper, method)(data, *y, **options)


@pytest.mark.parametrize("method", METHODS)
def test_wrong_ids_in_arrays_raise_on_every_backend(method):
    for ids, error, message in (
        (np.array([0, 1, 3, 2]), ValueError, r"in \[0, 2\], the tasks.*ids=\[3\]"),
        (IDS[:, None] - 1, ValueError, r"in \[0, 2\], the tasks.*ids=\[-1\]"),
        (IDS.astype("float32"), TypeError, "integer task ids.*float32"),
    ):
        with pytest.raises(error, match=message):
            run(hyper_of(), method, {"inputs": X, "condition": ids})
        data = {"inputs": X, "condition_0": ids, "condition_1": CONTEXT}
        with pytest.raises(error, match=message):
            run(hyper_of(condition=[TaskEmbedding(3, 2), 2]), method, data)


@pytest.mark.parametrize("method", METHODS)
def test_one_row_of_a_condition_is_not_for_all_samples(method):
    for condition, value in (
        (2, CONTEXT[:1]),
        (TaskEmbedding(3, 2), [1]),
        (TaskEmbedding(3, 2), IDS[:1, None]),
    ):
        with pytest.raises(ValueError, match="conditions for 1 samples"):
            run(hyper_of(condition=condition), method, {"inputs": X, "condition": value})


def tasks_and_two():
    return [TaskEmbedding(3, 2), 2]


# What a call takes, and what it means.
CONDITIONS = {
    "id": (lambda: TaskEmbedding(3, 2), 2),
    "array of one id": (lambda: TaskEmbedding(3, 2), np.array(2)),
    "tensor of one id": (lambda: TaskEmbedding(3, 2), keras.ops.convert_to_tensor(2)),
    "list of ids": (lambda: TaskEmbedding(3, 2), IDS.tolist()),
    "list of rows of ids": (lambda: TaskEmbedding(3, 2), IDS[:, None].tolist()),
    "tensor": (lambda: 2, CONTEXT[0]),
    "list of numbers": (lambda: 2, CONTEXT[0].tolist()),
    "list of rows": (lambda: 2, CONTEXT.tolist()),
    "one for all of each": (tasks_and_two, (1, CONTEXT[0])),
    "one for all and rows": (tasks_and_two, [1, CONTEXT]),
    "rows and one for all": (tasks_and_two, [IDS.tolist(), CONTEXT[0]]),
}


@pytest.mark.parametrize(
    ("case", "eager"), [*((case, True) for case in CONDITIONS), ("rows and one for all", False)]
)
def test_arrays_take_the_conditions_of_calls(case, eager):
    condition, value = CONDITIONS[case]
    hyper = hyper_of(condition=condition())
    hyper.compile("sgd", "mse", run_eagerly=eager)
    data = {"inputs": X, "condition": value}
    expected = to_numpy(hyper(X, condition=value))
    actual = hyper.predict(data, batch_size=3, verbose=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    loss = np.mean((expected - Y) ** 2)
    assert hyper.evaluate(data, Y, batch_size=3, verbose=0) == pytest.approx(loss, rel=1e-4)
    seen = hyper.fit(data, Y, batch_size=4, epochs=2, validation_data=(data, Y), verbose=0).history
    assert seen["loss"][0] == pytest.approx(loss, rel=1e-4)
    assert seen["loss"][1] == pytest.approx(seen["val_loss"][0], rel=1e-4)
    assert seen["loss"][1] < loss


def test_wrong_ids_in_validation_data_raise():
    data = {"inputs": X, "condition": IDS}
    for wrong in ({**data, "condition": IDS + 1}, {**data, "condition": 3}):
        with pytest.raises(ValueError, match=r"in \[0, 2\], the tasks"):
            hyper_of().fit(data, Y, validation_data=(wrong, Y), verbose=0)


class Batches(keras.utils.PyDataset):
    """A data set with one batch."""

    def __init__(self, arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 1

    def __getitem__(self, index):
        if index:
            raise IndexError
        return self.arrays


@pytest.mark.parametrize("form", [tuple, list, Batches])
def test_validation_data_may_have_sample_weights(form):
    hyper = hyper_of()
    data, weights = {"inputs": X, "condition": IDS}, np.array([1, 0, 3, 2], "float32")
    squares = np.square(to_numpy(hyper(X, condition=IDS)) - Y).mean(axis=1)
    expected = np.mean(squares * weights)
    hyper.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    validation = form((data, Y, weights))
    seen = hyper.fit(data, Y, validation_data=validation, verbose=0).history
    assert seen["val_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_one_id_in_arrays_makes_one_set_of_weights():
    target = keras.Sequential(
        [keras.Input((5,)), layers.Dense(4), layers.BatchNormalization(), layers.Dense(3)]
    )
    hyper = Hypernetwork(
        target, condition=TaskEmbedding(3, 2), include="*kernel", state_per_task=True
    )
    hyper.compile("sgd", "mse", jit_compile=False)
    # Weights for each sample raise with moving averages.
    hyper.fit({"inputs": X, "condition": 1}, Y, batch_size=2, verbose=0)
    (moving,) = (v for v in hyper.weights if "moving_mean" in v.name)
    moved = np.abs(to_numpy(moving.value)).max(axis=1) > 0
    np.testing.assert_array_equal(moved, [False, True, False])


@pytest.mark.parametrize("value", [np.array(2), CONTEXT[0]], ids=["id", "tensor"])
def test_a_batch_may_have_one_condition(value):
    condition = TaskEmbedding(3, 2) if value.ndim == 0 else 2
    hyper = hyper_of(condition=condition)
    data = {"inputs": X, "condition": keras.ops.convert_to_tensor(value)}
    expected = to_numpy(hyper(X, condition=value))
    np.testing.assert_allclose(hyper.predict_on_batch(data), expected, rtol=1e-5, atol=1e-6)
    loss = np.mean((expected - Y) ** 2)
    assert hyper.test_on_batch(data, Y) == pytest.approx(loss, rel=1e-4)
    assert hyper.train_on_batch(data, Y) == pytest.approx(loss, rel=1e-4)
    assert np.mean((to_numpy(hyper(X, condition=value)) - Y) ** 2) < loss


def batches(values):
    """Returns a data set whose elements are a batch of inputs and a condition each."""
    elements = [({"inputs": X[: 4 - i], "condition": v}, Y[: 4 - i]) for i, v in enumerate(values)]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        def shape(arrays, *known):
            return tf.TensorSpec(known, tf.as_dtype(arrays.dtype))

        spec = ({"inputs": shape(X, None, 5), "condition": shape(values[0], *values[0].shape)},)
        data = tf.data.Dataset.from_generator(
            lambda: iter(elements), output_signature=(*spec, shape(Y, None, 3))
        )
        return data.apply(tf.data.experimental.assert_cardinality(len(values)))
    from torch.utils.data import DataLoader

    return DataLoader(elements, batch_size=None)


@pytest.mark.skipif(BACKEND == "jax", reason="needs a data set of TensorFlow or PyTorch")
@pytest.mark.parametrize(
    ("values", "jit", "one_first"),
    [(IDS[:3], False, True), (IDS[:3], JIT, False), (CONTEXT[:3], False, False)],
    ids=["ids", "compiled", "tensors"],
)
def test_data_sets_hold_a_batch_and_one_condition(values, jit, one_first):
    hyper = hyper_of(condition=TaskEmbedding(3, 2) if values.ndim == 1 else 2)
    hyper.compile("sgd", "mse", jit_compile=jit)
    # Before and after a condition for each sample, whose graph is for both on TensorFlow.
    rows = np.concatenate([values, values[:1]])
    outputs = [to_numpy(hyper(X[: 4 - i], condition=v)) for i, v in enumerate(values)]
    one = sum(np.square(y - 1).sum() for y in outputs) / (3 * 9)
    each = np.mean((to_numpy(hyper(X, condition=rows)) - Y) ** 2)
    for first in (one_first, not one_first, one_first):
        data = (batches(values),) if first else ({"inputs": X, "condition": rows}, Y)
        assert hyper.evaluate(*data, verbose=0) == pytest.approx(one if first else each, rel=1e-4)
    before = [to_numpy(v.value).copy() for v in hyper.trainable_variables]
    hyper.fit(batches(values), epochs=2, shuffle=False, verbose=0)
    for v, old in zip(hyper.trainable_variables, before, strict=True):
        assert np.abs(to_numpy(v.value) - old).max() > 0, v.path


def test_losses_of_the_user_see_the_same_keys(monkeypatch):
    seen = []

    class Own(Hypernetwork):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            seen.append(set(x))
            return super().compute_loss(x, y, y_pred, sample_weight, training)

    own = Own(make_dense(), condition=TaskEmbedding(3, 2))
    own.compile("sgd", "mse", jit_compile=JIT)
    own.fit({"inputs": X, "condition": IDS}, Y, sample_weight=np.ones(4), verbose=0)
    assert seen
    assert all(keys == {"inputs", "condition"} for keys in seen)


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["hypernetwork", "functional"])
def test_a_step_with_a_bad_id_leaves_the_weights_alone(kind):
    import tensorflow as tf

    if kind == "hypernetwork":
        model = hyper_of()
        data = {"inputs": X, "condition": IDS + 2}
    else:
        inputs, ids = keras.Input((5,)), keras.Input((), dtype="int32")
        tasks = TaskEmbedding(3, 2)
        model = keras.Model([inputs, ids], HyperDense(3)(inputs, condition=tasks(ids)))
        data = (X, IDS + 2)
    # XLA leaves assertions out.
    model.compile("sgd", "mse", jit_compile=False)
    before = model.get_weights()
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be in"):
        model.fit(tf.data.Dataset.from_tensors((data, Y)), shuffle=False, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.tensorflow
@pytest.mark.parametrize("count", [1, 2, 5])
def test_ids_are_not_repeated_for_a_batch_of_known_size(count):
    import tensorflow as tf

    tasks, layer = TaskEmbedding(3, 2), HyperDense(3)
    layer(X, condition=tasks(IDS))
    specs = [tf.TensorSpec((4, 5)), tf.TensorSpec((None,), tf.int32)]
    program = tf.function(lambda x, ids: layer(x, condition=tasks(ids)), input_signature=specs)
    np.testing.assert_allclose(program(X, IDS), layer(X, condition=tasks(IDS)), rtol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        program(X, np.ones(count, "int32"))


def test_wrong_keys_leave_a_hypernetwork_as_it_was():
    hyper = hyper_of(layers.Dense(3), 2)
    with pytest.raises(ValueError, match=r"with the keys \['condition', 'x'\]. Expected: the keys"):
        hyper.fit({"x": X, "condition": CONTEXT}, Y, verbose=0)
    hyper.fit({"inputs": X, "condition": CONTEXT}, Y, verbose=0)
    assert list(hyper.generated_weights) == ["dense/kernel", "dense/bias"]


class Optional(keras.Model):
    """A target whose second input may be None."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def call(self, inputs):
        y = self.dense(inputs["a"])
        return y if inputs.get("b") is None else y + inputs["b"]


@needs_keras("3.13", "None in a nest of inputs at the call that builds a model")
def test_none_at_the_first_call_of_a_subclassed_target():
    hyper = Hypernetwork(Optional())
    outputs = to_numpy(hyper({"a": X, "b": None}))
    np.testing.assert_allclose(to_numpy(hyper({"a": X, "b": Y})), outputs + 1, rtol=1e-5, atol=1e-6)
