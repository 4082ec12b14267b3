"""Task ids as conditions."""

import keras
import numpy as np
import pytest

from helpers import JIT, to_numpy
from keras_hyper import HyperDense, TaskEmbedding


def test_lookup_and_shapes():
    tasks = TaskEmbedding(5, 3)
    table = to_numpy(tasks([0, 1, 2, 3, 4]))
    np.testing.assert_array_equal(table, tasks.embeddings.numpy())
    np.testing.assert_array_equal(to_numpy(tasks(2)), table[2])
    np.testing.assert_array_equal(to_numpy(tasks(np.array([3, 0], "uint8"))), table[[3, 0]])
    np.testing.assert_array_equal(to_numpy(tasks(np.array([[3], [0]]))), table[[3, 0]])
    np.testing.assert_allclose(np.mean(table**2, axis=-1), 1, rtol=1e-5)


def test_one_id_is_one_weight_set_for_the_batch():
    tasks, layer = TaskEmbedding(5, 3), HyperDense(4)
    x = np.ones((2, 6), "float32")
    rows = to_numpy(layer(x, condition=tasks([1, 2])))
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    np.testing.assert_allclose(to_numpy(layer(x, condition=tasks(1)))[0], rows[0], rtol=1e-4)


def test_tasks_are_learned_by_id(rng):
    """Two tasks that contradict each other: only weights by task can fit both."""
    inputs, ids = keras.Input((3,)), keras.Input((), dtype="int32")
    outputs = HyperDense(1)(inputs, condition=TaskEmbedding(2, 4)(ids))
    model = keras.Model([inputs, ids], outputs)
    model.compile(keras.optimizers.Adam(0.03), "mse", jit_compile=JIT)
    x = rng.normal(size=(256, 3)).astype("float32")
    task = rng.integers(0, 2, 256).astype("int32")
    y = np.where(task == 1, x.sum(axis=1), -x.sum(axis=1))
    model.fit([x, task], y, epochs=25, verbose=0)
    assert model.evaluate([x, task], y, verbose=0) < 0.05 * y.var()


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (-1, ValueError, r"`ids` must be in \[0, 4\].*-1"),
        ([0, 5], ValueError, r"`ids` must be in \[0, 4\].*5"),
        (1.5, TypeError, "integer task ids.*float(32|64)"),
        (np.ones(2), TypeError, "integer task ids.*float64"),
        (np.ones((2, 2), int), ValueError, r"one id, or one per sample.*\(2, 2\)"),
    ],
)
def test_wrong_ids(ids, error, message):
    with pytest.raises(error, match=message):
        TaskEmbedding(5, 3)(ids)


def test_wrong_ids_in_compiled_code_give_nan():
    inputs = keras.Input((), dtype="int32")
    model = keras.Model(inputs, TaskEmbedding(5, 3)(inputs))
    model.compile(jit_compile=JIT)
    if keras.backend.backend() == "torch":  # Not compiled: the values are known.
        with pytest.raises(ValueError, match="must be in"):
            model.predict(np.array([1, 5]), verbose=0)
        return
    outputs = model.predict(np.array([1, -1, 5]), verbose=0)
    assert np.isfinite(outputs[0]).all()
    assert np.isnan(outputs[1:]).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a graph of TensorFlow's")
@pytest.mark.parametrize("ids", [[1, -1], [5, 0]])
def test_wrong_ids_stop_a_graph_of_tensorflow(ids):
    import tensorflow as tf

    inputs = keras.Input((), dtype="int32")
    hidden = keras.layers.Dense(4, activation="relu")(TaskEmbedding(5, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))  # A ReLU can make 0 of NaN.
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must be in \[0, 4\]"):
        model.predict(np.array(ids), verbose=0)


@keras.saving.register_keras_serializable("keras_hyper_tests")
class ByTask(keras.Model):
    """A model of the user's, which takes a list of inputs and task ids."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tasks = TaskEmbedding(5, 3)
        self.dense = HyperDense(2)

    def call(self, inputs):
        x, ids = inputs
        return self.dense(x, condition=self.tasks(ids))


X, Y = np.ones((4, 6), "float32"), np.zeros((4, 2), "float32")
IDS = np.array([0, 1, 2, 4])


def by_task(jit=JIT):
    model = ByTask()
    model.compile("sgd", "mse", jit_compile=jit)
    return model


def functional(dtype="int32"):
    inputs, ids = keras.Input((6,)), keras.Input((), dtype=dtype)
    model = keras.Model([inputs, ids], HyperDense(2)(inputs, condition=TaskEmbedding(5, 3)(ids)))
    model.compile("sgd", "mse", jit_compile=JIT)
    return model


def test_half_precision_does_not_round_ids():
    keras.config.set_dtype_policy("mixed_float16")
    tasks = TaskEmbedding(5000, 4)
    inputs = keras.Input((), dtype="int32")
    model = keras.Model(inputs, tasks(inputs))
    ids = np.array([2049, 4097])
    rows = tasks.embeddings.numpy()[[2049, 4097]].astype("float16")
    np.testing.assert_array_equal(model.predict(ids, verbose=0), rows)
    np.testing.assert_array_equal(to_numpy(tasks(ids)), rows)


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]
# Keras has no such tensors on PyTorch.
INTEGERS += ["uint64"] if keras.backend.backend() != "torch" else []


@pytest.mark.parametrize("dtype", INTEGERS)
def test_ids_of_any_integer_dtype(dtype):
    tasks = TaskEmbedding(70_000, 2)  # More than the narrow types can count.
    ids = np.array([3, 0, 100], dtype)
    rows = to_numpy(tasks(ids))
    np.testing.assert_array_equal(rows, to_numpy(tasks.embeddings)[[3, 0, 100]])
    inputs = keras.Input((), dtype=dtype)
    model = keras.Model(inputs, tasks(inputs))
    np.testing.assert_array_equal(model.predict(ids, verbose=0), rows)


@pytest.mark.parametrize("ids", [np.array([2**32 - 1], "uint32"), np.array([2**40]), 2**31 - 1])
def test_huge_ids_do_not_wrap_around(ids):
    with pytest.raises(ValueError, match=r"`ids` must be in \[0, 4\].*Received: 1 invalid ids"):
        TaskEmbedding(5, 3)(ids)


def test_wrong_ids_are_named_among_many():
    ids = np.zeros(100, "int32")
    ids[70] = 9
    with pytest.raises(ValueError, match=r"tasks of TaskEmbedding 'kind'.*ids=\[9\]$"):
        TaskEmbedding(5, 3, name="kind").call(keras.ops.convert_to_tensor(ids))


FLOATS = {
    "list": lambda: TaskEmbedding(5, 3)([1.0, 2.0]),
    "booleans": lambda: TaskEmbedding(5, 3)(np.array([True])),
    "functional": lambda: functional("float32"),
    "sequential": lambda: keras.Sequential([TaskEmbedding(5, 3)])(IDS),
    "fit": lambda: by_task().fit([X, IDS.astype("float32")], Y, verbose=0),
    "fit of half precision": lambda: by_task().fit([X, IDS.astype("float16")], Y, verbose=0),
    "predict": lambda: by_task().predict([X, IDS.astype("float32")[:, None]], verbose=0),
    "evaluate": lambda: by_task(False).evaluate([X, IDS.astype("float64")], Y, verbose=0),
}


@pytest.mark.parametrize("make", FLOATS.values(), ids=FLOATS)
def test_ids_that_are_no_integers_raise_everywhere(make):
    with pytest.raises(TypeError, match=r"takes integer task ids.*float|bool.*keras.Input"):
        make()


def test_keras_builds_models_on_floating_point_stand_ins(tmp_path):
    model = by_task()
    model.tasks(0)  # Built before its parent.
    expected = model.predict([X, IDS], verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict([X, IDS], verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "jit", "first"),
    [
        ("predict", False, (4,)),
        ("predict", JIT, (4, 1)),
        ("fit", False, (4, 1)),
        ("fit", JIT, (4,)),
        ("evaluate", False, (4,)),
        ("train_on_batch", False, (4, 1)),
    ],
)
def test_ids_may_change_their_shape_from_call_to_call(method, jit, first):
    model = by_task(jit)
    model([X, IDS])
    model.optimizer.learning_rate = 0.0
    data = [Y] if method != "predict" else []
    options = {} if method.endswith("batch") else {"verbose": 0}
    second = (4, 1) if first == (4,) else (4,)
    results = [
        getattr(model, method)([X, IDS.reshape(shape)], *data, **options)
        for shape in (first, second, first, second)
    ]
    results = [r.history["loss"] if method == "fit" else r for r in results]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-5)


def test_functional_models_take_both_shapes_of_ids():
    # On TensorFlow, Keras's own input layer fails for both in one compiled function.
    for shape in ((4,), (4, 1)):
        model = functional()
        outputs = model.predict([X, IDS.reshape(shape)], verbose=0)
        np.testing.assert_allclose(outputs, to_numpy(model([X, IDS])), rtol=1e-5, atol=1e-6)


def test_a_wrong_id_in_fit_is_named_where_values_are_known():
    model, wrong = by_task(), np.array([0, 1, 2, 5])
    if keras.backend.backend() == "jax":  # Compiled: NaN.
        assert np.isnan(model.fit([X, wrong], Y, verbose=0).history["loss"][0])
        return
    model.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(Exception, match=r"must be in \[0, 4\], the tasks of TaskEmbedding") as info:
        model.fit([X, wrong], Y, verbose=0)
    assert type(info.value).__name__ in ("InvalidArgumentError", "ValueError")
    assert "5" in str(info.value)


@pytest.mark.parametrize("arguments", [(0, 3), (5, 0), (2.5, 3), (5, "3")])
def test_bad_arguments(arguments):
    with pytest.raises(
        (TypeError, ValueError), match="`(num_tasks|dim)` must be a positive integer"
    ):
        TaskEmbedding(*arguments)
