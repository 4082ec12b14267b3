"""Quantized generators and projections in files."""

import pickle
import warnings

import keras
import numpy as np
import pytest

import keras_hyper.saving.sublayers
from helpers import long_where_compiled, needs_keras, to_numpy
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
    clone,
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


def wrapped():
    inner = keras.Sequential([keras.Input((64,)), HyperDense(64, name="hyper")], name="inner")
    return keras.Sequential([keras.Input((64,)), inner, keras.layers.Dense(4)])


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


def through_hdf5(model, path):
    model.save(path / "model.h5")
    return keras.saving.load_model(path / "model.h5")


def through_clone(model, path):
    again = keras.models.clone_model(keras.models.clone_model(model))
    again.set_weights(model.get_weights())
    return again


def through_our_clone(model, path):
    again = clone(model)
    again.set_weights(model.get_weights())
    return again


def through_pickle(model, path):
    return pickle.loads(pickle.dumps(model))


WAYS = {
    "json": through_json,
    "hdf5": through_hdf5,
    "clone_model": through_clone,
    "clone": through_our_clone,
    "pickle": through_pickle,
}


def data(model, rng):
    shapes = [x.shape for x in model.inputs] if getattr(model, "inputs", None) else [(None, 16)]
    arrays = [rng.normal(size=(3, *shape[1:])).astype("float32") for shape in shapes]
    if not isinstance(model, Hypernetwork):
        return [arrays if len(arrays) > 1 else arrays[0]]
    width = 6 if isinstance(model.condition.parts[0], keras.Sequential) else None
    return [*arrays, rng.normal(size=(3, width)).astype("float32") if width else np.arange(3)]


MODELS = {name: lambda make=make: shared(make()) for name, make in GENERATORS.items()}
MODELS |= {"conditioned": conditioned, "hypernetwork": hypernetwork}
MODELS |= {"network as condition": with_a_network_as_condition, "in a layer": wrapped}
SLOW = ("conditioned", "network as condition", "hypernetwork", "mlp", "chunked", "low-rank")


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("int8", name) for name in MODELS if name not in SLOW),
        ("float8", "default"),
        *(long_where_compiled("int8", name) for name in SLOW),
        *(
            long_where_compiled(mode, name)
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


@pytest.mark.parametrize(
    ("mode", "name", "way"),
    [
        *(("int8", "linear", way) for way in ("json", "hdf5")),
        ("int8", "default", "hdf5"),
        ("int8", "in a layer", "hdf5"),
        ("float8", "default", "hdf5"),
        *(
            long_where_compiled(mode, name, way)
            for mode, name, way in (
                *(("int8", name, "json") for name in ("conditioned", "hypernetwork")),
                ("int8", "hypernetwork", "hdf5"),
                *(("int8", "default", way) for way in ("clone", "clone_model", "pickle")),
                *(("int8", "conditioned", way) for way in ("hdf5", "clone_model")),
                ("int8", "network as condition", "hdf5"),
                ("int4", "default", "hdf5"),
                ("int4", "conditioned", "clone_model"),
                ("float8", "default", "clone_model"),
                ("int4", "network as condition", "json"),
            )
        ),
    ],
)
def test_quantized_models_come_back(name, mode, way, rng, tmp_path):
    model = quantized(MODELS[name](), mode)
    inputs = data(model, rng)
    again = WAYS[way](model, tmp_path)
    np.testing.assert_array_equal(to_numpy(again(*inputs)), to_numpy(model(*inputs)))
    assert [str(v.dtype) for v in again.weights] == [str(v.dtype) for v in model.weights]


def test_another_generator_is_not_quantized():
    layer = shared(LinearGenerator(4)).layers[0]
    layer.generator.head.quantize("int8")
    config = {**layer.get_config(), "generator": LinearGenerator(3)}
    other = HyperDense.from_config(config)
    other.build((None, 64))
    assert other.generator.head.quantization_mode is None


@needs_keras("3.13", "configurations of `quantize`")
def test_a_scheme_with_a_configuration_comes_back(rng, tmp_path):
    config = keras.quantizers.Int8QuantizationConfig(
        weight_quantizer=keras.quantizers.AbsMaxQuantizer(axis=0, value_range=(-63, 63))
    )
    model = shared(LinearGenerator(4))
    model.layers[0].generator.head.quantize("int8", config=config)
    inputs = data(model, rng)
    again = through_file(model, tmp_path)
    np.testing.assert_array_equal(to_numpy(again(*inputs)), to_numpy(model(*inputs)))


@pytest.mark.parametrize("name", ["linear", "default", "hypernetwork"])
def test_what_cannot_be_restored_is_not_written(name, tmp_path, monkeypatch):
    model = quantized(MODELS[name](), "int8")
    monkeypatch.setattr(keras_hyper.saving.sublayers, "_MODES", ("int4",))
    writes = [
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.save(tmp_path / "model.h5"),
        model.to_json,
        lambda: pickle.dumps(model),
    ]
    for write in writes:
        with pytest.raises(ValueError, match=r"Layer '.*' of .*with mode 'int8'"):
            write()
