"""Autocast scopes of wrappers, and policies set after construction, as in the stock layers."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyper
from helpers import to_numpy
from keras_hyper import (
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEmbedding,
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    HyperSimpleRNN,
    HyperSimpleRNNCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
    LinearGenerator,
    LowRankGenerator,
    MLPGenerator,
    TemplateGenerator,
)

LAYERS = {
    "dense": (HyperDense, (3,), (5,)),
    "conv1d": (HyperConv1D, (4, 2), (5, 3)),
    "conv2d": (HyperConv2D, (4, 2), (4, 4, 3)),
    "conv3d": (HyperConv3D, (2, 2), (3, 3, 3, 2)),
    "depthwise": (HyperDepthwiseConv2D, (2,), (4, 4, 3)),
    "transpose": (HyperConv2DTranspose, (4, 2), (4, 4, 3)),
    "embedding": (HyperEmbedding, (5, 3), (4,)),
}
RECURRENT = {
    "lstm": (layers.LSTM, HyperLSTM, layers.LSTMCell, HyperLSTMCell),
    "gru": (layers.GRU, HyperGRU, layers.GRUCell, HyperGRUCell),
    "rnn": (layers.SimpleRNN, HyperSimpleRNN, layers.SimpleRNNCell, HyperSimpleRNNCell),
    "norm": (layers.LSTM, LayerNormLSTM, layers.LSTMCell, LayerNormLSTMCell),
}
POLICIES = ["mixed_float16", "mixed_bfloat16", "float64"]
TOLERANCE = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 1e-5, "float64": 1e-5}
over_layers = pytest.mark.parametrize("name", LAYERS)
over_recurrent = pytest.mark.parametrize("name", RECURRENT)
over_policies = pytest.mark.parametrize("policy", POLICIES)


def dtype_of(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def stock_twin(layer, args, shape, **kwargs):
    """Returns the stock layer with the weights that a hyper layer generates."""
    twin = type(layer).stock(*args, **kwargs)
    twin.build((None, *shape))
    twin.set_weights([to_numpy(w) for w in layer.generate().values()])
    return twin


def wide(tensor):
    return to_numpy(keras.ops.cast(tensor, "float32"))


def outputs_or_none(call):
    # Keras's own convolutions cannot mix types on some backends.
    try:
        return call()
    except Exception:
        return None


def compare(outputs, stock, reference):
    """Compares with the stock layer, where it works, and with the layer in float32."""
    expected = outputs_or_none(stock)
    if expected is not None:
        check_dtype(outputs, expected)
    tolerance = TOLERANCE[dtype_of(outputs)] * np.abs(reference).max()
    np.testing.assert_allclose(wide(outputs), reference, atol=tolerance)


def check_dtype(outputs, expected):
    # Some of Keras rounds float64 to float32 on JAX and PyTorch, and we do not.
    assert dtype_of(outputs) in (dtype_of(expected), "float64")
    if keras.backend.backend() == "tensorflow":
        assert dtype_of(outputs) == dtype_of(expected)


def data(name, rng, *lead):
    _, _, shape = LAYERS[name]
    if name == "embedding":
        return rng.integers(0, 5, (*lead, *shape)).astype("int32")
    return rng.normal(size=(*lead, *shape)).astype("float32")


@over_layers
@over_policies
@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
def test_time_distributed_has_the_types_of_the_stock_layer(name, policy, built, rng):
    cls, args, shape = LAYERS[name]
    layer = cls(*args)
    if built:
        layer.build((None, *shape))
    x = data(name, rng, 2, 3)
    outputs = layers.TimeDistributed(layer, dtype=policy)(x)
    twin = stock_twin(layer, args, shape)
    reference = wide(layers.TimeDistributed(layer)(x))
    compare(outputs, lambda: layers.TimeDistributed(twin, dtype=policy)(x), reference)
    if policy != "float64":  # Which some backends round, as in the stock layer.
        # Embeddings are looked up in the dtype of their own layer, as Keras's are.
        decides = layer if name == "embedding" else keras.DTypePolicy(policy)
        assert dtype_of(outputs) == decides.compute_dtype


@pytest.mark.parametrize("generator", [LinearGenerator, LowRankGenerator, TemplateGenerator])
@over_policies
def test_generators_and_compositions_follow_an_autocast_scope(generator, policy, rng):
    for composition in ("replace", "add", "scale"):
        kwargs = {"generator": generator(1) if composition == "scale" else generator()}
        if composition == "scale":
            kwargs["generator"].normalize_condition = False
        layer = HyperDense(4, composition=composition, **kwargs, generate_bias=True)
        x = data("dense", rng, 2, 3)
        outputs = layers.TimeDistributed(layer, dtype=policy)(x)
        twin = stock_twin(layer, (4,), (5,))
        compare(
            outputs,
            lambda twin=twin, x=x: layers.TimeDistributed(twin, dtype=policy)(x),
            wide(layers.TimeDistributed(layer)(x)),
        )
        if policy != "float64":
            assert dtype_of(outputs) == keras.DTypePolicy(policy).compute_dtype


def test_a_wrapper_in_float16_gives_float16():
    layer = layers.TimeDistributed(HyperDense(4), dtype="mixed_float16")
    assert dtype_of(layer(np.ones((2, 3, 5), "float32"))) == "float16"
    model = keras.Sequential([keras.Input((3, 5)), layer, layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3, 5)), np.ones((4, 1)), verbose=0)


def test_a_layer_in_half_precision_in_a_wrapper_in_float32():
    layer = layers.TimeDistributed(HyperDense(4, dtype="mixed_bfloat16"), dtype="float32")
    twin = layers.TimeDistributed(layers.Dense(4, dtype="mixed_bfloat16"), dtype="float32")
    x = np.ones((2, 3, 5), "float32")
    assert dtype_of(layer(x)) == dtype_of(twin(x))


@over_layers
@over_policies
@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
def test_a_policy_set_later_reaches_the_weights(name, policy, built, rng):
    cls, args, shape = LAYERS[name]
    layer = cls(*args)
    x = data(name, rng, 2)
    reference = wide(layer(x)) if built else None
    layer.dtype_policy = policy
    outputs = layer(x)
    if reference is None:
        layer.dtype_policy, reference = "float32", wide(layer(x))
        layer.dtype_policy = policy
    twin = stock_twin(layer, args, shape)
    twin.dtype_policy = policy
    compare(outputs, lambda: twin(x), reference)
    if policy != "float64":  # Which some backends round, as in the stock layer.
        assert dtype_of(outputs) == layer.compute_dtype
    generated = layer.kernel_weight
    assert generated.compute_dtype == generated.generator.compute_dtype == layer.compute_dtype


@over_policies
def test_a_policy_set_later_reaches_the_layers_of_the_generator(policy, rng):
    generator = MLPGenerator((6,), normalization="rms")
    layer = HyperDense(4, generator=generator)
    x, c = data("dense", rng, 2), rng.normal(size=(2, 3)).astype("float32")
    reference = wide(layer(x, condition=c))
    layer.dtype_policy = policy
    outputs = layer(x, condition=c)
    parts = [generator.head, *generator.hidden, generator.dropout, layer.kernel_weight.projection]
    assert {part.compute_dtype for part in parts} == {layer.compute_dtype}
    tolerance = 4 * TOLERANCE[dtype_of(outputs)] * np.abs(reference).max()
    np.testing.assert_allclose(wide(outputs), reference, atol=tolerance)


def test_a_quantized_generator_keeps_its_policy():
    layer = HyperDense(16, generator=MLPGenerator((32,)))
    layer.build((None, 8))
    layer.generator.head.quantize("int8")
    layer.dtype_policy = "mixed_bfloat16"
    assert layer.generator.head.quantization_mode == "int8"
    assert dtype_of(layer(np.ones((2, 8), "float32"))) == "bfloat16"


def recurrent(name, wrap, policy):
    """Returns outputs of the stock and of the hyper layer, wrapped in the same way."""
    stock, hyper, stock_cell, hyper_cell = RECURRENT[name]
    x = np.cos(np.arange(30, dtype="float32")).reshape(2, 3, 5)
    if wrap == "time distributed":
        x = x[:, None]

    def make(layer, cell):
        if wrap == "bidirectional":
            return layers.Bidirectional(layer(4), dtype=policy)
        if wrap == "time distributed":
            return layers.TimeDistributed(layer(4), dtype=policy)
        if wrap == "cell":
            return layers.RNN(cell(4), dtype=policy)
        if wrap == "cells":
            return layers.RNN(layers.StackedRNNCells([cell(4), cell(3)], dtype=policy))
        made = cell(4) if wrap == "cell later" else layer(4)
        made.build((2, 5) if wrap == "cell later" else (2, 3, 5))
        made.dtype_policy = policy
        return layers.RNN(made) if wrap == "cell later" else made

    expected = outputs_or_none(lambda: make(stock, stock_cell)(x))
    if expected is None and wrap == "cells":
        pytest.skip("Keras cannot run these cells either")
    return make(hyper, hyper_cell)(x), expected


@over_recurrent
@over_policies
@pytest.mark.parametrize(
    "wrap", ["bidirectional", "time distributed", "cell", "cells", "later", "cell later"]
)
def test_recurrent_layers_have_the_types_of_the_stock_layers(name, wrap, policy):
    outputs, expected = recurrent(name, wrap, policy)
    assert np.isfinite(wide(outputs)).all()
    if expected is not None:
        check_dtype(outputs, expected)


@over_recurrent
def test_cells_called_directly_follow_an_autocast_scope(name):
    class Once(layers.Layer):
        def __init__(self, cell, **kwargs):
            super().__init__(**kwargs)
            self.cell = cell

        def build(self, input_shape):
            self.cell.build(input_shape)

        def call(self, x):
            states = [keras.ops.cast(s, x.dtype) for s in self.cell.get_initial_state(2)]
            return self.cell.call(x, states)[0]

    outputs = Once(RECURRENT[name][3](4), dtype="mixed_bfloat16")(np.ones((2, 5), "float32"))
    assert dtype_of(outputs) == "bfloat16"


@over_recurrent
def test_recurrent_layers_train_with_a_policy_set_later(name):
    layer = RECURRENT[name][1](4)
    layer.build((None, 3, 5))
    layer.dtype_policy = "mixed_bfloat16"
    model = keras.Sequential([keras.Input((3, 5)), layer, layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    history = model.fit(np.ones((4, 3, 5)), np.ones((4, 1)), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(v.dtype == "float32" for v in model.trainable_variables)


def test_a_wrapped_layer_is_read_from_a_file(tmp_path):
    layer = layers.TimeDistributed(HyperDense(4), dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((3, 5)), layer])
    x = np.ones((2, 3, 5), "float32")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(wide(again(x)), wide(model(x)))
    clone = keras_hyper.clone(model)
    assert dtype_of(clone(x)) == "bfloat16"
