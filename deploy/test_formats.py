"""Every model in every format gives what Keras gives, as the guide's table says."""

import json
import pathlib

import keras
import pytest

from formats import FORMATS, RESULTS, ROWS, attempt, table
from keras_hyper import ChunkedGenerator, HyperDense, Hypernetwork, NoiseCondition
from keras_hyper.export import export_file

GUIDE = pathlib.Path(__file__).parents[1] / "docs" / "export.md"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("text", "case", "endpoint"), ROWS, ids=[row[0] for row in ROWS])
def test_a_model_in_a_format(text, case, endpoint, kind, tmp_path):
    assert attempt(case, endpoint, kind, tmp_path) == json.loads(RESULTS.read_text())[text][kind]


def noise():
    target = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    return Hypernetwork(target, ChunkedGenerator(5), condition=NoiseCondition(2))


def lookup():
    numbers = keras.Input((4,), dtype="int32")
    ids = keras.layers.IntegerLookup(vocabulary=[10, 20, 30])(numbers)
    return keras.Model(numbers, keras.layers.Embedding(4, 3)(ids))


def one_name():
    x = keras.Input((5,), name="x")
    return keras.Model({"x": x}, {"x": HyperDense(5)(x)})


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (noise, "model.onnx", "ONNX does not support this endpoint: .*Random"),
        (noise, "model.tflite", "LiteRT does not support this endpoint"),
        (lookup, "model.onnx", "ONNX does not support this endpoint: .*Lookup"),
        (one_name, "model.onnx", r"cannot have the name of an input.*\['x'\]"),
    ],
)
def test_what_a_format_cannot_have_is_refused(make, name, message, tmp_path):
    (tmp_path / name).write_text("older")
    with pytest.raises(ValueError, match=message):
        export_file(make(), tmp_path / name)
    assert (tmp_path / name).read_text() == "older"


def test_the_table_of_the_guide_is_what_was_found():
    assert "\n".join(table(json.loads(RESULTS.read_text()))) in GUIDE.read_text()
