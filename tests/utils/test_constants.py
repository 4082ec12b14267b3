"""A warning where a functional model keeps a tensor as a constant."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import long_test_where_compiled, to_numpy
from keras_hyper import (
    HyperDense,
    HyperGRU,
    HyperLSTM,
    Hypernetwork,
    HyperSimpleRNN,
    LayerNormLSTM,
    MagnitudeInvariantEncoding,
    NoiseCondition,
    TaskEmbedding,
    clone,
)
from keras_hyper.conditions import JoinedCondition

ROWS = np.ones((2, 4), "float32")
WARNING = r"received a tensor of shape .* is a constant of the model, which neither trains"


@pytest.fixture
def caught():
    """Yields a function that returns the warnings so far of constants."""
    with warnings.catch_warnings(record=True) as all_of_them:
        warnings.simplefilter("always")
        yield lambda: [str(w.message) for w in all_of_them if "is a constant" in str(w.message)]


def hypernetwork(condition):
    return Hypernetwork(keras.Sequential([keras.Input((4,)), layers.Dense(3)]), condition=condition)


CONSTANTS = {
    "task": lambda: TaskEmbedding(5, 3)(3),
    "tasks": lambda: TaskEmbedding(5, 3)([0, 4]),
    "operation": lambda: TaskEmbedding(5, 3)(3) * 2,
    "two tasks": lambda: ops.concatenate([TaskEmbedding(5, 3)(3), TaskEmbedding(5, 2)(1)]),
    "stock layer": lambda: layers.Dense(8)(TaskEmbedding(5, 3)([0, 4])),
    "stock embedding": lambda: layers.Embedding(5, 3)(np.array([0, 4])),
    "noise": lambda: NoiseCondition(3)(ROWS),
    "joined": lambda: JoinedCondition([TaskEmbedding(5, 3), 2])([1, np.ones(2, "float32")]),
    "layer": lambda: HyperDense(3)(ROWS),
    "hypernetwork": lambda: hypernetwork(None)(ROWS),
    "encoding": lambda: MagnitudeInvariantEncoding()(np.ones(2, "float32")),
    "tensor": lambda: ops.ones(3),
    "float16": lambda: ops.ones(3, "float16"),
}
USES = {
    "condition": lambda x, c: HyperDense(3)(x, condition=c),
    "condition of a hypernetwork": lambda x, c: hypernetwork(c.shape[-1])(x, condition=c),
    "part of a condition": lambda x, c: hypernetwork([TaskEmbedding(5, 3), c.shape[-1]])(
        x, condition=[keras.Input((), batch_size=2, dtype="int32"), c]
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("constant", CONSTANTS)
def test_a_constant_that_may_be_trained_is_warned_of(constant, use):
    value = CONSTANTS[constant]()
    with pytest.warns(UserWarning, match=WARNING) as caught:
        USES[use](keras.Input((4,), batch_size=2), value)
    assert [w.filename for w in caught if "is a constant" in str(w.message)] == [__file__]


@pytest.mark.parametrize("cls", [HyperSimpleRNN, HyperLSTM, HyperGRU, LayerNormLSTM])
@pytest.mark.parametrize("constant", ["tasks", "stock embedding", "layer", "hypernetwork"])
def test_a_constant_initial_state_is_warned_of(cls, constant):
    layer = cls(3) if cls is LayerNormLSTM else cls(3, hyper_units=3)
    states = [CONSTANTS[constant]() for _ in layer.cell.state_size]
    with pytest.warns(UserWarning, match=f"Layer '{layer.name}' {WARNING}"):
        layer(keras.Input((5, 4), batch_size=2), initial_state=states)


def test_constant_inputs_are_warned_of():
    value = HyperDense(4)(ROWS)
    with pytest.warns(UserWarning, match=r"Layer 'mine' received a tensor of shape \(2, 4\).*"):
        HyperDense(3, name="mine")(value, condition=keras.Input((2,), batch_size=2))


FINE = {
    "array": lambda: np.ones(3, "float32"),
    "converted": lambda: ops.convert_to_numpy(TaskEmbedding(5, 3)(3)),
    "converted operation": lambda: ops.convert_to_numpy(TaskEmbedding(5, 3)(3) * 2),
    "variable": lambda: keras.Variable(np.ones(3, "float32")),
    "symbolic": lambda: TaskEmbedding(5, 3)(keras.Input((), dtype="int32")),
    "symbolic operation": lambda: layers.Dense(4)(
        TaskEmbedding(5, 3)(keras.Input((), dtype="int32")) * ops.ones(3)
    ),
}


@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
def test_arrays_and_symbolic_tensors_are_not(make, caught):
    outputs = HyperDense(3)(keras.Input((4,)), condition=make())
    assert outputs.shape == (None, 3)
    assert not caught()


@pytest.mark.parametrize("convert", [int, np.array, ops.convert_to_tensor])
def test_constant_ids_are_not(convert, caught):
    x = keras.Input((4,), batch_size=2)
    model = keras.Model(x, hypernetwork(TaskEmbedding(5, 3))(x, condition=convert(3)))
    assert any("embeddings" in v.path for v in model.trainable_variables)
    assert not caught()


def test_models_with_constant_arrays_are_saved_and_cloned_without_it(tmp_path, caught):
    x, sequence = keras.Input((4,), batch_size=2), keras.Input((5, 4), batch_size=2)
    outputs = [
        HyperDense(3)(x, condition=np.ones(3, "float32")),
        hypernetwork(3)(x, condition=np.ones(3, "float32")),
        HyperSimpleRNN(4, hyper_units=4)(sequence, initial_state=[ROWS, ROWS]),
    ]
    model = keras.Model([x, sequence], outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    arrays = [ROWS, np.ones((2, 5, 4), "float32")]
    for one, other in zip(loaded(arrays), model(arrays), strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=1e-5)
    for again in (clone(model), keras.models.clone_model(model)):
        assert len(again.weights) == len(model.weights)
    assert not caught()


class Own(keras.Model):
    """Conditions from learned weights, in all the ways that a `call` can compute them."""

    def __init__(self):
        super().__init__()
        self.tasks, self.embedding = TaskEmbedding(5, 3), layers.Embedding(5, 3)
        self.table = self.add_weight(shape=(5, 3), name="table")
        self.project, self.recurrent = layers.Dense(3), HyperSimpleRNN(3, hyper_units=3)
        self.dense, self.hyper = HyperDense(3), hypernetwork(3)

    def call(self, inputs):
        state = self.embedding(ops.zeros((ops.shape(inputs)[0],), "int32"))
        conditions = [
            self.tasks(3),
            self.tasks(3) * 2,
            self.project(self.tasks([3]))[0],
            self.table[1],
            ops.mean(self.table, axis=0),
            state,
        ]
        outputs = self.recurrent(inputs[:, None], initial_state=[state, state])
        for condition in conditions:
            outputs = outputs + self.dense(inputs, condition=condition)
            outputs = outputs + self.hyper(inputs, condition=condition)
        return outputs


@long_test_where_compiled
def test_models_of_the_user_that_train_them_are_not(caught):
    model = Own()
    model.compile("sgd", "mse")
    model.fit(ROWS, np.ones((2, 3)), verbose=0)
    keras.Model(x := keras.Input((4,)), model(x))
    keras.Model(x := keras.Input((4,)), Own()(x))
    trained = {id(v) for v in model.trainable_variables}
    assert {id(model.tasks.embeddings), id(model.embedding.embeddings), id(model.table)} <= trained
    assert not caught()


def test_eager_calls_are_not(caught):
    assert HyperDense(3)(ROWS, condition=TaskEmbedding(5, 3)(3)).shape == (2, 3)
    state = TaskEmbedding(5, 3)([0, 4])
    layer = HyperSimpleRNN(3, hyper_units=3)
    assert layer(np.ones((2, 5, 4), "float32"), initial_state=[state, state]).shape == (2, 3)
    assert not caught()
