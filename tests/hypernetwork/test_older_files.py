"""Files of the code before `Hypernetwork` applied layers from a table load, or say what to do.

`tests/data/before_0_1/` has them as that code wrote them (the archives are compressed), with
the outputs for the inputs below.
"""

import pathlib
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from helpers import needs_keras, to_numpy
from keras_hyper import Hypernetwork, LowRankGenerator, TaskEmbedding

DATA = pathlib.Path(__file__).parents[1] / "data" / "before_0_1"
X = np.linspace(-1, 1, 20).reshape(4, 5).astype("float32")
ADVICE = "older version of keras_hyper.*`save_adapter`.*`load_adapter`"
# Older versions reject the `input_axes` of the initializers.
needs_newer_keras = needs_keras("3.15", "it wrote the files")


@pytest.fixture
def outputs():
    with np.load(DATA / "outputs.npz") as file:
        return dict(file)


def hyper():
    base = layers.Dense(4, activation="tanh", name="a")
    target = keras.Sequential(
        [keras.Input((5,)), base, layers.BatchNormalization(name="norm")], name="target"
    )
    base.kernel.assign(np.sin(np.arange(20.0)).reshape(5, 4))
    return Hypernetwork(
        target,
        LowRankGenerator(1, embedding_dim=2),
        condition=TaskEmbedding(2, 3),
        include="*kernel",
        composition="add",
        name="hyper",
    )


def part(name, file="hypernetwork.keras"):
    with zipfile.ZipFile(DATA / file) as archive:
        return archive.read(name)


def test_an_adapter_loads(outputs):
    model = hyper()
    model.load_adapter(DATA / "adapter.npz")
    actual = to_numpy(model(X, condition=[0, 1, 1, 0]))
    np.testing.assert_allclose(actual, outputs["hypernetwork"], rtol=1e-5, atol=1e-6)


@needs_newer_keras
def test_a_keras_file_of_a_hypernetwork_raises():
    with pytest.raises(ValueError, match=f"(?s){ADVICE}"):
        keras.saving.load_model(DATA / "hypernetwork.keras")


def test_a_weights_file_of_a_hypernetwork_raises(tmp_path):
    path = tmp_path / "hypernetwork.weights.h5"
    path.write_bytes(part("model.weights.h5"))
    with pytest.raises(ValueError, match=f"(?s){ADVICE}"):
        hyper().load_weights(path)


@needs_newer_keras
def test_json_of_a_hypernetwork_loads(outputs):
    model = keras.models.model_from_json(part("config.json").decode())
    model.target.set_weights(hyper().target.get_weights())
    model.load_adapter(DATA / "adapter.npz")
    actual = to_numpy(model(X, condition=[0, 1, 1, 0]))
    np.testing.assert_allclose(actual, outputs["hypernetwork"], rtol=1e-5, atol=1e-6)


@needs_newer_keras
def test_files_of_layers_load(outputs, tmp_path):
    model = keras.saving.load_model(DATA / "layers.keras")
    np.testing.assert_allclose(to_numpy(model(X)), outputs["layers"], rtol=1e-5, atol=1e-6)
    model = keras.models.model_from_json(part("config.json", "layers.keras").decode())
    path = tmp_path / "layers.weights.h5"
    path.write_bytes(part("model.weights.h5", "layers.keras"))
    model.load_weights(path)
    np.testing.assert_allclose(to_numpy(model(X)), outputs["layers"], rtol=1e-5, atol=1e-6)
