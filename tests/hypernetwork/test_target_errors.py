"""What is wrong is said first, without the list of all weights and without nested calls."""

import traceback

import keras
import numpy as np
import pytest
from keras import layers

from helpers import needs_keras
from keras_hyper import Generator, Hypernetwork

X, C = np.ones((2, 4), "float32"), np.ones((2, 3), "float32")


class Assigning(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs):
        self.scale.assign(self.scale + 1.0)
        return inputs * self.scale


class Failing(layers.Layer):
    """Fails once it is built."""

    fails = False

    def call(self, inputs):
        if self.fails:
            raise ValueError("The layer's own message.")
        return inputs


def hypernetwork(parts, condition=3):
    return Hypernetwork(keras.Sequential([keras.Input((4,)), *parts]), condition=condition)


class Folding(layers.Layer):
    """Multiplies as many rows as there are numbers, those of all samples in turn."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(2)

    def build(self, shape):
        self.dense.build((None, 1))

    def call(self, inputs):
        products = self.dense(keras.ops.reshape(keras.ops.transpose(inputs), (-1, 1)))
        return keras.ops.reshape(products, (-1, 4, 2))[:, 0]


class Summing(layers.Layer):
    """Has one output for all rows."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs):
        return keras.ops.sum(inputs * self.scale)


CASES = {
    "assignment": (lambda: hypernetwork([layers.Dense(2), Assigning()]), "assigns to its weight"),
    "assignment, one condition": (
        lambda: hypernetwork([layers.Dense(2), Assigning()], condition=None),
        "assigns to its weight",
    ),
    "outputs": (lambda: hypernetwork([Summing()]), "must have a row for each sample"),
}


def raised(model, how):
    if how == "call":
        conditions = {} if model.condition is None else {"condition": C}
        model(X, **conditions)
    else:
        data = X if model.condition is None else {"inputs": X, "condition": C}
        model.compile("sgd", "mse", run_eagerly=how == "eager fit")
        model.fit(data, np.ones((2, 2)), verbose=0)


@pytest.mark.parametrize("how", ["call", "fit"])
@pytest.mark.parametrize("case", CASES)
def test_an_error_of_a_target_says_what_is_wrong_and_no_more(case, how):
    make, message = CASES[case]
    with pytest.raises(ValueError, match=message) as raised_:
        raised(make(), how)
    text = str(raised_.value)
    assert "weights={" not in text
    assert "Target.call" not in text
    assert "in user code" not in text
    lines = [line for line in text.splitlines() if line.strip() and "encountered" not in line]
    assert message in lines[0]
    shown = "".join(traceback.format_exception(raised_.value))
    assert "During handling of" not in shown
    assert "direct cause" not in shown


def test_rows_that_are_not_samples_raise():
    message = "inputs whose first axis is the batch"
    with pytest.raises(ValueError, match=message) as raised_:
        raised(hypernetwork([Folding()]), "call")
    assert "weights={" not in str(raised_.value)
    # A graph of TensorFlow's finds out when it runs.
    error = Exception if keras.backend.backend() == "tensorflow" else ValueError
    message += "|BroadcastGradientArgs|reshape|compatible batch dim"
    with pytest.raises(error, match=message):
        raised(hypernetwork([Folding()]), "fit")


@pytest.mark.parametrize("condition", [None, 3])
def test_an_error_of_a_layer_of_the_target_stays_its_own(condition):
    failing = Failing()
    model = hypernetwork([layers.Dense(2), failing], condition=condition)
    arguments = {} if condition is None else {"condition": C}
    model(X, **arguments)
    failing.fails = True
    with pytest.raises(ValueError, match="The layer's own message") as raised_:
        model(X, **arguments)
    assert "Failing.call()" in str(raised_.value)


@pytest.mark.parametrize("how", ["call", "fit"])
def test_inputs_that_do_not_fit_each_sample_s_target(how):
    model = hypernetwork([layers.Dense(2)], condition=3)
    data = {"inputs": np.ones((2, X.shape[1] + 1), "float32"), "condition": C}
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="Input.*incompatible|Incompatible shapes") as raised_:
        model(**data) if how == "call" else model.fit(data, np.ones((2, 2)), verbose=0)
    assert "weights={" not in str(raised_.value)
    assert "in user code" not in str(raised_.value).partition("Arguments received")[0]


def of_one_input():
    image = keras.Input((4, 4, 2), name="image")
    return keras.Model(image, layers.Conv2D(3, 2)(image))


def of_named_inputs():
    inputs = {"b": keras.Input((4,), name="b"), "a": keras.Input((2, 4), name="a")}
    return keras.Model(inputs, layers.Dense(3)(inputs["b"]) + layers.Dense(3)(inputs["a"])[:, 0])


def of_two_inputs():
    inputs = [keras.Input((4,), name="b"), keras.Input((2, 4), name="a")]
    return keras.Model(inputs, layers.Dense(3)(inputs[0]) + layers.Dense(3)(inputs[1])[:, 0])


def in_order():
    return keras.Sequential([keras.Input((4, 4, 2), name="image"), layers.Conv2D(3, 2)])


def ones(*shape):
    return np.ones(shape, "float32")


def with_its_name(*case):
    """Returns a case whose message comes from Keras and names the input."""
    return pytest.param(*case, marks=needs_keras("3.13", "messages that name the input"))


# Inputs, and a part of the message: that of Keras itself where it checks shapes before a call.
WRONG_INPUTS = [
    (of_one_input, ones(2, 4, 4), r"'image'.*\(None, 4, 4, 2\).*\(2, 4, 4\)"),
    (of_one_input, ones(2, 1, 4, 4, 2), r"'image'"),
    with_its_name(of_one_input, ones(2, 4, 4, 3), r"'image'.*\(2, 4, 4, 3\)"),
    with_its_name(of_one_input, ones(2, 5, 4, 2), r"'image'.*\(2, 5, 4, 2\)"),
    (of_one_input, [ones(2, 4, 4, 2)] * 2, "expects 1.*2 input"),
    (in_order, ones(2, 4, 4), r"'image'.*\(None, 4, 4, 2\).*\(2, 4, 4\)"),
    (in_order, ones(2, 4, 4, 3), r"'image'.*\(None, 4, 4, 2\).*\(2, 4, 4, 3\)"),
    (of_named_inputs, {"a": ones(2, 2, 4), "b": ones(2, 2, 4)}, "'b'"),
    (of_named_inputs, {"a": ones(2, 4), "b": ones(2, 4)}, "'a'"),
    (of_named_inputs, {"a": ones(2, 2, 4)}, 'Missing data for input "b"'),
    (of_two_inputs, [ones(2, 2, 4), ones(2, 4)], "'b'"),
    with_its_name(of_two_inputs, [ones(2, 4), ones(2, 2, 3)], "'a'"),
]


@pytest.mark.parametrize("condition", [None, 2])
@pytest.mark.parametrize(("make", "inputs", "message"), WRONG_INPUTS)
def test_wrong_inputs_raise_before_weights_are_generated(
    make, inputs, message, condition, monkeypatch
):
    hyper = Hypernetwork(make(), condition=condition)
    given = {} if condition is None else {"condition": ones(2, 2)}
    monkeypatch.setattr(Generator, "__call__", lambda *args, **kwargs: pytest.fail("generated"))
    with pytest.raises(ValueError, match=message):
        hyper(inputs, **given)


RIGHT_INPUTS = [
    (in_order, ones(2, 7, 5, 2)),
    (of_two_inputs, [ones(2, 4, 1), ones(2, 2, 4)]),
    (of_two_inputs, {"a": ones(2, 2, 4), "b": ones(2, 4)}),
    (of_named_inputs, {"a": ones(2, 2, 4), "b": ones(2, 4)}),
    (lambda: keras.Sequential([keras.Input((4, 1)), layers.Dense(3)]), ones(2, 4)),
]


@pytest.mark.parametrize(("make", "inputs"), RIGHT_INPUTS)
def test_inputs_that_a_target_adapts_to_are_right(make, inputs):
    target = make()
    hyper = Hypernetwork(target, condition=2)
    assert hyper(inputs, condition=ones(2)).shape == target(inputs).shape
    assert hyper(inputs, condition=ones(2, 2)).shape == target(inputs).shape
