"""A warning where a layer is left out of a functional model, of which it is a constant."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

from keras_hyper import (
    HyperDense,
    Hypernetwork,
    MagnitudeInvariantEncoding,
    NoiseCondition,
    TaskEmbedding,
)
from keras_hyper.conditions import JoinedCondition

ROWS = np.ones((2, 4), "float32")


def hypernetwork(condition):
    return Hypernetwork(keras.Sequential([keras.Input((4,)), layers.Dense(3)]), condition=condition)


CONSTANTS = {
    "task": lambda: TaskEmbedding(5, 3)(3),
    "tasks": lambda: TaskEmbedding(5, 3)([0, 4]),
    "noise": lambda: NoiseCondition(3)(ROWS),
    "joined": lambda: JoinedCondition([TaskEmbedding(5, 3), 2])([1, np.ones(2, "float32")]),
    "layer": lambda: HyperDense(3)(ROWS),
    "hypernetwork": lambda: hypernetwork(None)(ROWS),
}
USES = {
    "condition": lambda x, c: HyperDense(3)(x, condition=c),
    "condition of a hypernetwork": lambda x, c: hypernetwork(c.shape[-1])(x, condition=c),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("constant", CONSTANTS)
def test_a_constant_that_would_be_trained_is_warned_of(constant, use):
    value = CONSTANTS[constant]()
    with pytest.warns(UserWarning, match=r"output is a constant.*neither trains nor calls it"):
        USES[use](keras.Input((4,), batch_size=2), value)


def test_constant_inputs_are_warned_of():
    value = HyperDense(4)(ROWS)
    with pytest.warns(UserWarning, match=r"HyperDense 'hyper_dense\w*' was called on a value"):
        HyperDense(3)(value, condition=keras.Input((2,), batch_size=2))


def frozen():
    tasks = TaskEmbedding(5, 3)
    tasks.trainable = False
    return tasks(3)


FINE = {
    "array": lambda: np.ones(3, "float32"),
    "tensor": lambda: keras.ops.ones(3),
    "converted": lambda: keras.ops.convert_to_numpy(
        keras.ops.stop_gradient(TaskEmbedding(5, 3)(3))
    ),
    "frozen": frozen,
    "encoding": lambda: MagnitudeInvariantEncoding()(np.ones(2, "float32")),
    "symbolic": lambda: TaskEmbedding(5, 3)(keras.Input((), dtype="int32")),
}


@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
def test_constants_that_lose_nothing_are_not(make):
    value = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        HyperDense(3)(keras.Input((4,)), condition=value)


def test_eager_calls_and_models_of_the_user_are_not():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.tasks, self.dense = TaskEmbedding(5, 3), HyperDense(3)

        def call(self, inputs):
            return self.dense(inputs, condition=self.tasks(3))

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is a constant")
        tasks = TaskEmbedding(5, 3)
        HyperDense(3)(ROWS, condition=tasks(3))
        model = Own()
        model.compile("sgd", "mse")
        model.fit(ROWS, np.ones((2, 3)), verbose=0)
        keras.Model(x := keras.Input((4,)), model(x))
    assert any(v is model.tasks.embeddings for v in model.trainable_variables)
