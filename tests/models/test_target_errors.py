"""What is wrong is said first, without the list of all weights and without nested calls."""

import traceback

import keras
import numpy as np
import pytest
from keras import layers

from keras_hyper import Hypernetwork

X, C = np.ones((2, 4), "float32"), np.ones((2, 3), "float32")


def normalized():
    return [layers.Dense(2), layers.BatchNormalization()]


def without_rows():
    return [layers.Dense(4), layers.Lambda(lambda x: keras.ops.sum(x))]


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


def hypernetwork(parts, condition=3, **kwargs):
    return Hypernetwork(
        keras.Sequential([keras.Input((4,), **kwargs), *parts]), condition=condition
    )


CASES = {
    "state": (lambda: hypernetwork(normalized()), {"training": True}, "statistics of a batch"),
    "fixed batch": (
        lambda: hypernetwork([layers.Dense(2)], batch_size=2),
        {},
        "is made for batches of",
    ),
    "outputs": (lambda: hypernetwork(without_rows()), {}, "have a row for each sample"),
    "mask": (lambda: hypernetwork([layers.Masking(), layers.Dense(2)]), {}, "carry a mask"),
    "assignment": (
        lambda: hypernetwork([layers.Dense(2), Assigning()], condition=None),
        {},
        "assigns to its weight",
    ),
}


def raised(model, kwargs, how):
    if how == "call":
        conditions = {} if model.condition is None else {"condition": C}
        model(X, **conditions, **kwargs)
    else:
        data = X if model.condition is None else {"inputs": X, "condition": C}
        model.compile("sgd", "mse", run_eagerly=how == "eager fit")
        model.fit(data, np.ones((2, 2)), verbose=0)


@pytest.mark.parametrize("how", ["call", "fit"])
@pytest.mark.parametrize("case", CASES)
def test_an_error_of_a_target_says_what_is_wrong_and_no_more(case, how):
    make, kwargs, message = CASES[case]
    with pytest.raises(ValueError, match=message) as raised_:
        raised(make(), kwargs, how)
    text = str(raised_.value)
    assert "weights={" not in text
    assert "Target.call" not in text
    assert "in user code" not in text
    lines = [line for line in text.splitlines() if line.strip() and "encountered" not in line]
    assert message in lines[0]
    shown = "".join(traceback.format_exception(raised_.value))
    assert "During handling of" not in shown
    assert "direct cause" not in shown


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
