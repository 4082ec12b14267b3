"""Quantized generators and projections in files."""

import warnings

import keras
import numpy as np
import pytest

import keras_hyper.sublayers
from helpers import long_on_tensorflow, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperConv2D,
    HyperDense,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    MLPGenerator,
    TaskEmbedding,
    TiledKernelGenerator,
)

GENERATORS = {
    "linear": lambda: LinearGenerator(4),
    "mlp": lambda: MLPGenerator((8,), embedding_dim=4),
    "chunked": lambda: ChunkedGenerator(8, hidden_units=(6,), embedding_dim=4),
    "low-rank": lambda: LowRankGenerator(2, 4),
    "default": lambda: None,
}


def shared(generator):
    layers = [HyperDense(64, generator=generator, name=f"d{i}") for i in range(2)]
    return keras.Sequential([keras.Input((64,)), *layers])


def conditioned():
    x, c = keras.Input((5, 5, 4)), keras.Input((3,))
    generator = TiledKernelGenerator((3, 3, 2, 2), embedding_dim=4)
    hidden = HyperConv2D(4, 3, generator=generator, generate_bias=True)(x, condition=c)
    return keras.Model([x, c], HyperConv2D(2, 3)(hidden, condition=c))


def hypernetwork():
    target = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8), keras.layers.Dense(2)])
    return Hypernetwork(target, ChunkedGenerator(8), condition=TaskEmbedding(3, 4))


def with_a_network_as_condition():
    target = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8)])
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    return Hypernetwork(target, LowRankGenerator(2), condition=encoder)


def quantized(model, mode):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have a `quantize` method")
        model.quantize(mode)
    return model


def through_file(model, path):
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras")


def through_json(model, path):
    again = keras.models.model_from_json(model.to_json())
    again.set_weights(model.get_weights())
    return again


def data(model, rng):
    shapes = [x.shape for x in model.inputs] if getattr(model, "inputs", None) else [(None, 16)]
    arrays = [rng.normal(size=(3, *shape[1:])).astype("float32") for shape in shapes]
    if not isinstance(model, Hypernetwork):
        return [arrays if len(arrays) > 1 else arrays[0]]
    width = 6 if isinstance(model.condition.parts[0], keras.Sequential) else None
    return [*arrays, rng.normal(size=(3, width)).astype("float32") if width else np.arange(3)]


MODELS = {name: lambda make=make: shared(make()) for name, make in GENERATORS.items()}
MODELS |= {"conditioned": conditioned, "hypernetwork": hypernetwork}
MODELS |= {"network as condition": with_a_network_as_condition}


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("int8", name) for name in MODELS),
        ("float8", "default"),
        *(
            long_on_tensorflow(mode, name)
            for mode, name in (
                ("int4", "default"),
                ("int4", "hypernetwork"),
                ("float8", "hypernetwork"),
            )
        ),
    ],
)
def test_quantized_models_come_back_from_files(name, mode, rng, tmp_path):
    model = MODELS[name]()
    inputs = data(model, rng)
    plain = to_numpy(model(*inputs))
    outputs = to_numpy(quantized(model, mode)(*inputs))
    assert np.abs(outputs - plain).max() > 0
    again = through_file(model, tmp_path)
    np.testing.assert_array_equal(to_numpy(again(*inputs)), outputs)
    assert [str(v.dtype) for v in again.weights] == [str(v.dtype) for v in model.weights]


@pytest.mark.parametrize("name", ["linear", "conditioned", "hypernetwork"])
def test_quantized_models_come_back_from_json(name, rng, tmp_path):
    model = quantized(MODELS[name](), "int8")
    inputs = data(model, rng)
    again = through_json(model, tmp_path)
    np.testing.assert_array_equal(to_numpy(again(*inputs)), to_numpy(model(*inputs)))


def test_a_scheme_with_a_configuration_comes_back(rng, tmp_path):
    config = keras.quantizers.Int8QuantizationConfig(
        weight_quantizer=keras.quantizers.AbsMaxQuantizer(axis=0, value_range=(-63, 63))
    )
    model = shared(LinearGenerator(4))
    model.layers[0].generator.head.quantize("int8", config=config)
    inputs = data(model, rng)
    again = through_file(model, tmp_path)
    np.testing.assert_array_equal(to_numpy(again(*inputs)), to_numpy(model(*inputs)))


def test_what_cannot_be_restored_is_not_written(tmp_path, monkeypatch):
    model = quantized(shared(LinearGenerator(4)), "int8")
    monkeypatch.setattr(keras_hyper.sublayers, "_MODES", ("int4",))
    with pytest.raises(ValueError, match="Layer 'head' of .*LinearGenerator.*with mode 'int8'"):
        model.save(tmp_path / "model.keras")
