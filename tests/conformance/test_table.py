"""Every public class has a row in the table of conformance."""

import inspect
import pathlib
import pydoc
import re

import keras
import pytest

import keras_hyper
from conformance.components import GENERATORS, INITIALIZERS, KERNELS
from conformance.descriptors import CONDITIONS, LAYERS, MODELS, NOISE

API = pathlib.Path(__file__).parents[2] / "docs" / "api.md"
# Classes without a row, and why.
NO_ROW = {
    "Exported": "a result of `export_saved_model`",
    "GeneratedWeight": "over every generator in `test_components.py`",
    "Generator": "a base class",
    "GeneratorSummary": "a result of `summary`",
    "HyperBaseConv": "a base class",
    "HyperLayer": "a base class",
    "HyperTensorBoard": "a callback",
    "Kernel": "a base class",
    "Plan": "a result of `plan`",
    "Summary": "a result of `summary`",
    "WeightRecord": "a result of `record_weights`",
    "WeightSummary": "a result of `summary`",
}


def public_classes():
    documented = re.findall(r"^::: (\S+)$", API.read_text(), re.MULTILINE)
    things = [pydoc.locate(path) for path in documented]
    things += [getattr(keras_hyper, name) for name in keras_hyper.__all__]
    return {thing for thing in things if inspect.isclass(thing)}


def classes_of(row):
    """Returns the class of a row's layer, or that of its cell."""
    layer = row.make()
    return {type(layer), type(getattr(layer, "cell", layer))}


@pytest.fixture(scope="module")
def covered():
    rows = [*LAYERS, *CONDITIONS, NOISE, *MODELS]
    made = [make() for table in (GENERATORS, INITIALIZERS, KERNELS) for make in table.values()]
    return set.union(*map(classes_of, rows), set(map(type, made)))


def test_every_public_class_has_a_row(covered):
    missing = {cls.__name__ for cls in public_classes() - covered}
    assert missing == NO_ROW.keys()


def test_layers_without_a_row_are_bases_or_generated_weights():
    layers = {cls.__name__ for cls in public_classes() if issubclass(cls, keras.Layer)}
    bases = {"GeneratedWeight", "Generator", "HyperBaseConv", "HyperLayer"}
    assert layers & NO_ROW.keys() == bases


def test_a_class_without_a_row_is_found(covered, monkeypatch):
    class HyperNew(keras_hyper.HyperDense):
        pass

    monkeypatch.setattr(keras_hyper, "HyperNew", HyperNew, raising=False)
    monkeypatch.setattr(keras_hyper, "__all__", [*keras_hyper.__all__, "HyperNew"])
    assert HyperNew in public_classes() - covered
