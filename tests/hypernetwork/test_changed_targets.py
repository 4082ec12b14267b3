"""Targets whose layers get LoRA, or are quantized, after the hypernetwork was built."""

import h5py
import keras
import numpy as np
import pytest

from keras_hyper import Hypernetwork, LowRankGenerator, TaskEmbedding
from tests.helpers import to_numpy

layers = keras.layers


def target():
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(4, name="last"),
        ]
    )


def change(model, how, names):
    for name in names:
        layer = model.get_layer(name)
        if how.startswith("lora"):
            layer.enable_lora(2)
        if how.endswith(("int8", "float8")):
            layer.quantize(how.rpartition(" ")[2])


def shake(model, rng):
    """Gives every variable of floating-point numbers different values."""
    for variable in model.variables:
        if keras.backend.is_float_dtype(variable.dtype) and "float8" not in variable.dtype:
            noise = np.abs(rng.normal(size=variable.shape, scale=0.1))
            variable.assign(to_numpy(variable.value) + noise)


@pytest.mark.parametrize("first", [False, True], ids=["changed later", "changed before"])
@pytest.mark.parametrize("how", ["lora", "int8", "float8", "lora int8"])
@pytest.mark.parametrize(
    ("composition", "per_task"), [("add", False), ("add", True), ("replace", False)]
)
def test_files_have_all_values_once(composition, per_task, how, first, rng, tmp_path):
    # A quantized kernel that is replaced is not read.
    names = ("first", "last") if composition == "add" or how == "lora" else ("first",)
    model = target()
    if first:
        change(model, how, names)
    hyper = Hypernetwork(
        model,
        LowRankGenerator(2),
        condition=TaskEmbedding(3, 2) if per_task else None,
        include="last/bias" if composition == "replace" and first else "last/kernel",
        composition=composition,
        state_per_task=per_task,
    )
    x = rng.normal(size=(5, 6)).astype("float32")
    condition = {"condition": np.array(1)} if per_task else {}
    hyper(x, **condition)
    if not first:
        change(model, how, names)
        hyper(x, **condition)
    shake(hyper, rng)
    expected = to_numpy(hyper(x, **condition))
    hyper.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(to_numpy(loaded(x, **condition)), expected, rtol=1e-6, atol=1e-6)
    trained = sorted(tuple(v.shape) for v in hyper.trainable_variables)
    assert sorted(tuple(v.shape) for v in loaded.trainable_variables) == trained
    hyper.save_weights(tmp_path / "a.weights.h5")
    shake(loaded, rng)
    loaded.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_allclose(to_numpy(loaded(x, **condition)), expected, rtol=1e-6, atol=1e-6)
    stored = []
    with h5py.File(tmp_path / "a.weights.h5") as file:
        file.visititems(lambda _, item: stored.append(item) if hasattr(item, "shape") else None)
        assert len(stored) == len({id(v) for v in hyper.weights})
