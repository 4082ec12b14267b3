"""An endpoint that differs from the model is not written."""

import dataclasses
import random

import keras
import numpy as np
import pytest
from keras import layers, ops

from export.models import CASES
from helpers import CAN_EXPORT
from keras_hyper import HyperDense, Hypernetwork, NoiseCondition, export_saved_model
from keras_hyper.export import endpoints as endpoints_module
from keras_hyper.export import export_file, formats
from keras_hyper.export.agreement import alike
from keras_hyper.export.endpoints import Endpoints

if not CAN_EXPORT:
    pytest.skip("needs TensorFlow, and a backend that exports", allow_module_level=True)

ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow's own functions"
)


def known(size):
    return isinstance(size, int)


class Scaled(layers.Layer):
    """Multiplies by a factor that depends on what is known while it is traced."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor(inputs)


def by_batch(x):
    return 1.0 if known(x.shape[0]) else 1.01


def by_two(x):
    """Right for one batch size."""
    return 1.0 if not known(x.shape[0]) or x.shape[0] == 2 else 2.0


def by_length(x):
    return x.shape[1] if known(x.shape[1]) else 4.0


def by_order(x):
    """Right for batches that are smaller than the length."""
    return 3.0 if known(x.shape[0]) and x.shape[0] > x.shape[1] else 1.0


def by_rounding(x):
    """Beyond the largest integer XLA saturates, and TensorFlow does not."""
    return ops.cast(ops.cast(x * 1e12, "int32"), "float32")


def flat(factor):
    return lambda: keras.Sequential([keras.Input((4,)), HyperDense(3), Scaled(factor)])


def along_time(factor):
    return lambda: keras.Sequential(
        [keras.Input((None, 4)), Scaled(factor), layers.Dense(3), layers.GlobalMaxPooling1D()]
    )


def in_a_context(factor):
    def make():
        x, c = keras.Input((4,), name="x"), keras.Input((2,), name="c")
        return keras.Model([x, c], HyperDense(3)(x, condition=Scaled(factor)(c)))

    return make


DIFFERENT = {
    "batch": flat(by_batch),
    "one batch size": flat(by_two),
    "length": along_time(by_length),
    "batch and length": along_time(by_order),
    "context": in_a_context(by_batch),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_a_model_that_differs_when_it_is_traced_is_not_written(case, tmp_path):
    with pytest.raises(ValueError, match="Endpoint 'serving_default' differs from model"):
        export_saved_model(DIFFERENT[case](), tmp_path / "saved", xla=False)
    assert list(tmp_path.iterdir()) == []


@ON_TENSORFLOW
def test_an_endpoint_that_xla_changes_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Endpoint 'serve_xla' differs"):
        export_saved_model(flat(by_rounding)(), tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []
    export_saved_model(flat(by_rounding)(), tmp_path / "saved", xla=False)


@ON_TENSORFLOW
@pytest.mark.parametrize("case", DIFFERENT)
def test_a_file_that_differs_is_not_written(case, tmp_path):
    with pytest.raises(ValueError, match="Endpoint 'serving_default' differs"):
        export_file(DIFFERENT[case](), tmp_path / "model.tflite")
    assert list(tmp_path.iterdir()) == []


@ON_TENSORFLOW
def test_what_a_converter_makes_is_compared(tmp_path, monkeypatch):
    convert, (path, name) = formats._litert, (tmp_path / "model.tflite", "outputs")

    def wrong(*args):
        call = convert(*args)
        return lambda inputs: {key: x * 1.01 for key, x in call(inputs).items()}

    path.write_text("older")
    monkeypatch.setattr(formats, "_litert", wrong)
    with pytest.raises(
        ValueError, match=f"output '{name}' has different values for inputs of shapes"
    ):
        export_file(flat(lambda x: 1.0)(), path)
    assert path.read_text() == "older"


@pytest.mark.parametrize(
    ("case", "endpoint"),
    [
        ("by task", "serving_default"),
        ("by task", "generate"),
        ("by task", "apply"),
        ("several inputs", "generate"),
        ("several inputs", "apply"),
        ("text", "step"),
    ],
)
def test_every_endpoint_is_compared(case, endpoint, tmp_path, monkeypatch):
    add = Endpoints.add

    def wrong(self, name, function, *args, **kwargs):
        def changed(tensors):
            outputs = function.run(tensors)
            first = next(iter(outputs))
            return {**outputs, first: outputs[first] + 0.1}

        run = changed if name == endpoint else function.run
        add(self, name, dataclasses.replace(function, run=run), *args, **kwargs)

    monkeypatch.setattr(Endpoints, "add", wrong)
    with pytest.raises(ValueError, match=f"Endpoint '{endpoint}' differs"):
        export_saved_model(CASES[case].make(), tmp_path / "saved", xla=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "endpoint"), [("condition_0", "serving_default"), ("a_kernel", "apply")]
)
def test_one_row_for_a_batch_is_compared(name, endpoint, tmp_path, monkeypatch):
    """Of conditions, or of weights."""
    switched = endpoints_module.switched

    def wrong(one, rows, names):
        def changed(tensors):
            return {k: -x for k, x in one(tensors).items()}

        return switched(changed if name in names else one, rows, names)

    monkeypatch.setattr(endpoints_module, "switched", wrong)
    with pytest.raises(ValueError, match=f"Endpoint '{endpoint}' differs"):
        export_saved_model(CASES["by task"].make(), tmp_path / "saved", xla=False)


@ON_TENSORFLOW
def test_text_is_compared(tmp_path):
    words = layers.StringLookup(vocabulary=["red", "green", "blue"])
    lookup = words.call
    # As if the table had another order in the graph.
    words.call = lambda x: lookup(x) if known(x.shape[0]) else 1 - lookup(x) + 2
    with pytest.raises(ValueError, match="Endpoint 'serve_text' differs"):
        export_saved_model(CASES["text"].make(), tmp_path / "saved", text=words, xla=False)
    assert list(tmp_path.iterdir()) == []


@ON_TENSORFLOW
def test_random_numbers_of_python_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="Draw random numbers with `keras.random`"):
        export_saved_model(flat(lambda x: random.random())(), tmp_path / "saved", xla=False)
    target = keras.Sequential([keras.Input((5,)), layers.Dense(2)])
    model = Hypernetwork(target, condition=NoiseCondition(3))
    assert "serve_xla" in export_saved_model(model, tmp_path / "saved").inputs


class AtLeast(layers.Layer):
    """Takes long sequences only."""

    def __init__(self, length, **kwargs):
        super().__init__(**kwargs)
        self.length = length

    def call(self, inputs):
        if known(inputs.shape[1]) and inputs.shape[1] < self.length:
            raise ValueError(f"{self.length} steps at least.")
        return inputs


def test_models_of_long_sequences_are_tried_with_long_ones(tmp_path):
    def make(length):
        return keras.Sequential([keras.Input((None, 2)), AtLeast(length), HyperDense(2)])

    assert export_saved_model(make(100), tmp_path / "saved", xla=False).inputs
    with pytest.raises(ValueError, match="5000 steps at least.*pass `input_signature`"):
        export_saved_model(make(5000), tmp_path / "again", xla=False)
    signature = keras.Input((5000, 2))
    export_saved_model(make(5000), tmp_path / "again", xla=False, input_signature=signature)


def test_outputs_that_are_no_numbers(tmp_path):
    """Infinite values, integers and booleans are compared as well."""
    x = keras.Input((None, 3), name="x")
    y = HyperDense(2)(x)
    outputs = {"log": ops.log(y), "best": ops.argmax(y, axis=-1), "positive": y > 0}
    model = keras.Model(x, {**outputs, "rows": ops.sum(y, axis=(1, 2))})
    assert export_saved_model(model, tmp_path / "saved").inputs["serve_xla"] == ["x"]


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, 2.0], [1.0, np.nan], False),
        ([np.inf, 1.0], [-np.inf, 1.0], False),
        ([1.0, 5.0], [1.0, 5.01], False),
        ([True, False], [True, True], False),
        (["a", "b"], ["a", "c"], False),
        (["a", "b"], ["a", "b"], True),
        ([[1.0, 2.0]], [1.0, 2.0], False),
    ],
)
def test_alike(a, b, equal):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    assert alike(model, np.array(a), np.array(b)) is equal
