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
        (np.ones((2, 2), int), ValueError, r"one id, or one for each sample.*\(2, 2\)"),
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


def test_half_precision_does_not_round_ids():
    keras.config.set_dtype_policy("mixed_float16")
    tasks = TaskEmbedding(5000, 4)
    inputs = keras.Input(())  # Floating point, the default of `Input`.
    model = keras.Model(inputs, tasks(inputs))
    ids = np.array([2049, 4097], "float32")
    if keras.backend.backend() == "torch":
        with pytest.raises(TypeError, match="integer task ids"):
            model.predict(ids, verbose=0)
        return
    rows = tasks.embeddings.numpy()[[2049, 4097]].astype("float16")
    np.testing.assert_array_equal(model.predict(ids, verbose=0), rows)
    model.compile(jit_compile=JIT)
    assert np.isnan(model.predict(np.array([0.5, -0.5]), verbose=0)).all()


@pytest.mark.parametrize("arguments", [(0, 3), (5, 0), (2.5, 3), (5, "3")])
def test_bad_arguments(arguments):
    with pytest.raises(
        (TypeError, ValueError), match="`(num_tasks|dim)` must be a positive integer"
    ):
        TaskEmbedding(*arguments)
