"""Quantized layers compute their own product, and what is generated is added to it."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from helpers import gradients, long_where_compiled, shake, to_numpy
from keras_hyper import Hypernetwork, LinearGenerator, LowRankGenerator

TARGETS = {
    "Dense": (lambda: layers.Dense(6, activation="tanh", name="layer"), (8,)),
    "EinsumDense": (
        lambda: layers.EinsumDense(
            "abc,cde->abde", (3, 2, 6), bias_axes="de", activation="tanh", name="layer"
        ),
        (3, 8),
    ),
    "Embedding": (lambda: layers.Embedding(9, 6, name="layer"), (3,)),
}
MODES = [
    ("int8", "Dense"),
    ("int4", "Dense"),
    ("float8", "Dense"),
    ("int8", "EinsumDense"),
    long_where_compiled("int4", "EinsumDense"),
    ("int8", "Embedding"),
    long_where_compiled("int4", "Embedding"),
]


def target(name):
    make, shape = TARGETS[name]
    dtype = "int32" if name == "Embedding" else "float32"
    model = keras.Sequential([keras.Input(shape, dtype=dtype), make()])
    for v in model.weights:
        v.assign(np.random.default_rng(0).normal(size=v.shape) / 2)
    return model


def hypernetwork(model, **options):
    options = {"include": lambda path, _: "bias" not in path, "composition": "add", **options}
    hyper = Hypernetwork(model, LowRankGenerator(2, 4), condition=3, **options)
    for weight in hyper.generated_weights.values() if options["composition"] == "add" else ():
        weight.gate.assign(0.5)
    return hyper


def data(name, rng):
    shape = (4, *TARGETS[name][1])
    if name == "Embedding":
        return rng.integers(0, 9, size=shape).astype("int32")
    return rng.normal(size=shape).astype("float32")


def without_end(model, x):
    """Returns the outputs of the stock layer before its activation."""
    layer = model.get_layer("layer")
    activation = getattr(layer, "activation", None)
    if activation is None:
        return to_numpy(model(x))
    layer.activation = keras.activations.linear
    outputs = to_numpy(model(x))
    layer.activation = activation
    return outputs


def product(name, x, change):
    """Returns what is added to the outputs of the stock layer for a sample."""
    if name == "Embedding":
        return change[x]
    return np.tensordot(x, change, axes=1)


@pytest.mark.parametrize("first", [False, True], ids=["quantized later", "quantized before"])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(("mode", "name"), MODES)
def test_the_product_is_added_before_the_activation(mode, name, batched, first, rng, tmp_path):
    if name == "Embedding" and mode == "float8":
        pytest.skip("Keras has no such layer")
    model, x = target(name), data(name, rng)
    if first:
        model.get_layer("layer").quantize(mode)
    hyper = hypernetwork(model)
    c = rng.normal(size=(4, 3) if batched else (3,)).astype("float32")
    before = to_numpy(hyper(x, condition=c))
    if not first:
        model.get_layer("layer").quantize(mode)
    outputs = to_numpy(hyper(x, condition=c))
    assert np.abs(outputs - before).max() > 0 or first
    (change,) = to_numpy(hyper.generate(c)).values()
    plain = without_end(model, x)
    rows = [product(name, x[i], change[i] if batched else change) for i in range(4)]
    expected = plain + np.stack(rows)
    if name != "Embedding":
        expected = np.tanh(expected)
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-6)
    assert np.abs(np.stack(rows)).max() > 0.01
    # The numbers of the kernel are stored once, in few bits.
    stored = [v for v in hyper.weights if str(v.dtype).startswith("float") and v.shape]
    if mode != "float8":
        assert tuple(change.shape[batched:]) not in {tuple(v.shape) for v in stored}
    hyper.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(again(x, condition=c)), outputs)
    assert list(again.generated_weights) == list(hyper.generated_weights)
    shapes = [sorted(tuple(v.shape) for v in model.weights) for model in (again, hyper)]
    assert shapes[0] == shapes[1]


def nested():
    dense = layers.Dense(6, use_bias=False, name="layer")
    return keras.Sequential([keras.Input((8,)), keras.Sequential([keras.Input((8,)), dense])])


def test_nested_layers_with_replaced_kernels_use_no_variable_of_quantization(rng, tmp_path):
    model, x = nested(), data("Dense", rng)
    hyper, c = hypernetwork(model, composition="replace"), np.ones(3, "float32")
    outputs, paths = to_numpy(hyper(x, condition=c)), [v.path for v in hyper.weights]
    model.layers[0].layers[0].quantize("int8")
    assert [v.path for v in hyper.weights] == paths
    assert hyper.runner.stored() == []
    hyper.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(x, condition=c)), outputs, rtol=1e-6, atol=1e-6)


def test_products_are_added_in_nested_layers_that_are_quantized_later(rng):
    model, x, c = nested(), data("Dense", rng), np.ones(3, "float32")
    hyper = hypernetwork(model)
    model.layers[0].layers[0].quantize("int8")
    (change,) = to_numpy(hyper.generate(c)).values()
    expected = to_numpy(model(x)) + x @ change
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c)), expected, rtol=2e-5, atol=2e-6)


def test_the_base_in_full_precision_is_dropped(rng):
    model, x = target("Dense"), data("Dense", rng)
    layer = model.get_layer("layer")
    hyper, c = hypernetwork(model), np.ones((4, 3), "float32")
    hyper(x, condition=c)
    base = weakref.ref(layer.kernel)
    layer.quantize("int8")
    hyper(x, condition=c)
    gc.collect()
    assert base() is None


def test_gradients_reach_the_generator_alone(rng):
    model = target("Dense")
    model.get_layer("layer").quantize("int8")
    hyper = hypernetwork(model)
    x, c = data("Dense", rng), rng.normal(size=(4, 3)).astype("float32")
    found = gradients(lambda c: keras.ops.sum(hyper(x, condition=c) ** 2), hyper, c)
    # The stored bias of the target, and the generated weight's own.
    names = [v.path for v in hyper.trainable_variables]
    assert not any(name.endswith("kernel_scale") for name in names)
    assert all(np.abs(g).max() > 0 for g in found)


def enable_lora(layer, rng):
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(rng.normal(size=layer.lora_kernel_b.shape))


@pytest.mark.parametrize("first", [False, True], ids=["enabled later", "enabled before"])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_lora_of_a_quantized_layer_is_added_too(mode, batched, first, rng, tmp_path):
    model, x = target("Dense"), data("Dense", rng)
    layer = model.get_layer("layer")
    c = rng.normal(size=(4, 3) if batched else (3,)).astype("float32")
    if first:
        layer.quantize(mode)
        enable_lora(layer, rng)
    hyper = hypernetwork(model)
    hyper(x, condition=c)
    if not first:
        layer.quantize(mode)
        enable_lora(layer, rng)
    outputs = to_numpy(hyper(x, condition=c))
    (change,) = to_numpy(hyper.generate(c)).values()
    rows = [product("Dense", x[i], change[i] if batched else change) for i in range(4)]
    expected = np.tanh(without_end(model, x) + np.stack(rows))
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-6)
    before = to_numpy(model(x))
    layer.lora_kernel_b.assign(np.zeros(layer.lora_kernel_b.shape))
    assert np.abs(to_numpy(model(x)) - before).max() > 0.01


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_replaced_weights_of_a_quantized_layer_with_lora_raise(mode, rng):
    model, x = target("Dense"), data("Dense", rng)
    hyper = hypernetwork(model, composition="replace")
    layer = model.get_layer("layer")
    layer.quantize(mode)
    layer.enable_lora(2)
    with pytest.raises(ValueError, match=r"'layer' is quantized and has LoRA.*composition='add'"):
        hyper(x, condition=np.ones((4, 3), "float32"))


def test_float8_with_lora_raises(rng):
    model, x = target("Dense"), data("Dense", rng)
    layer = model.get_layer("layer")
    layer.quantize("float8")
    layer.enable_lora(2)
    with pytest.raises(NotImplementedError, match="LoRA"):
        hypernetwork(model)(x, condition=np.ones((4, 3), "float32"))


@pytest.mark.parametrize("first", [False, True], ids=["quantized later", "quantized before"])
@pytest.mark.parametrize("composition", ["add", "replace"])
@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_modes_that_are_not_supported_raise(mode, composition, first, rng):
    name = f"{mode.upper()}Config"
    if not hasattr(keras.quantizers, name):
        pytest.skip("not in this version of Keras")
    config = getattr(keras.quantizers, name)(dataset=None, tokenizer=None)
    # The kernel has a length that the groups divide.
    model = keras.Sequential([keras.Input((128,)), layers.Dense(128, name="layer")])
    if first:
        model.get_layer("layer").quantize(mode, config=config)
    hyper = hypernetwork(model, composition=composition, include="*kernel")
    if not first:
        model.get_layer("layer").quantize(mode, config=config)
    with pytest.raises(ValueError, match=rf"quantized with mode '{mode}'.*modes \['int8', 'int4'"):
        hyper(np.ones((2, 128), "float32"), condition=np.ones((2, 3), "float32"))


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("first", [False, True], ids=["enabled later", "enabled before"])
def test_lora_of_a_layer_in_full_precision_is_added(first, batched, rng):
    model, x = target("Dense"), data("Dense", rng)
    layer = model.get_layer("layer")
    if first:
        enable_lora(layer, rng)
    hyper = hypernetwork(model, include="*layer/kernel")
    c = rng.normal(size=(4, 3) if batched else (3,)).astype("float32")
    hyper(x, condition=c)
    if not first:
        enable_lora(layer, rng)
    outputs = to_numpy(hyper(x, condition=c))
    (kernel,) = to_numpy(hyper.generate(c)).values()
    lora = to_numpy(layer.lora_kernel_a) @ to_numpy(layer.lora_kernel_b)
    kernels = np.broadcast_to(kernel + lora, (4, 8, 6))
    expected = np.tanh(np.einsum("bi,bio->bo", x, kernels) + to_numpy(layer.bias))
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("composition", ["multiply", "scale"])
def test_factors_of_quantized_kernels_raise(composition, rng):
    x, c = data("Dense", rng), rng.normal(size=(4, 3)).astype("float32")
    model = target("Dense")
    hyper = hypernetwork(model, composition=composition)
    model.get_layer("layer").quantize("int8")
    with pytest.raises(ValueError, match="'layer' is quantized, and composition="):
        hyper(x, condition=c)
    with pytest.raises(ValueError, match="quantized"):
        hypernetwork(model, composition=composition)


def test_replaced_kernels_are_used_as_they_are(rng):
    x, c = data("Dense", rng), rng.normal(size=(4, 3)).astype("float32")
    model = target("Dense")
    hyper = Hypernetwork(model, LinearGenerator(4), condition=3, include="*")
    shake(hyper, rng)
    expected = to_numpy(hyper(x, condition=c))
    model.get_layer("layer").quantize("int8")
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
def test_a_generated_bias_of_a_quantized_layer(batched, rng):
    x, c = data("Dense", rng), rng.normal(size=(4, 3) if batched else (3,)).astype("float32")
    model = target("Dense")
    model.get_layer("layer").quantize("int8")
    hyper = Hypernetwork(model, LinearGenerator(4), condition=3, include="*bias", composition="add")
    shake(hyper, rng)
    (bias,) = to_numpy(hyper.generate(c)).values()
    stock = to_numpy(model.get_layer("layer").bias)
    expected = np.tanh(without_end(model, x) - stock + bias)
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c)), expected, rtol=1e-5, atol=1e-6)


# Keras transposes scales of one axis.
@pytest.mark.filterwarnings("ignore:.*use of `x.T`")
@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("tied", [False, True])
def test_quantized_logits_are_capped_after_the_sum(tied, mode, rng):
    layer = layers.ReversibleEmbedding(9, 6, tie_weights=tied, logit_soft_cap=1.5, name="layer")

    class Logits(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def build(self, shape):
            self.layer.build((None, 3))

        def call(self, inputs):
            return self.layer(inputs, reverse=True)

    x, c = rng.normal(size=(4, 3, 6)).astype("float32"), rng.normal(size=(4, 3)).astype("float32")
    model = Logits()
    model(x)
    layer.quantize(mode)
    hyper = Hypernetwork(
        model, LowRankGenerator(2, 4), condition=3, include="*embeddings", composition="add"
    )
    hyper(x, condition=c)
    for weight in hyper.generated_weights.values():
        weight.gate.assign(0.5)
    path = "layer/embeddings" if tied else "layer/reverse_embeddings"
    change = to_numpy(hyper.generate(c))[path]
    change = change.transpose(0, 2, 1) if tied else change
    layer.logit_soft_cap = None
    plain = to_numpy(model(x))
    layer.logit_soft_cap = 1.5
    expected = np.tanh((plain + x @ change) / 1.5) * 1.5
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c)), expected, rtol=1e-5, atol=1e-6)
    if not tied:
        # The table is not used for logits.
        hyper = Hypernetwork(
            model, LowRankGenerator(2, 4), condition=3, include="*/embeddings", composition="add"
        )
        hyper(x, condition=c)
        hyper.generated_weights["layer/embeddings"].gate.assign(0.5)
        np.testing.assert_array_equal(to_numpy(hyper(x, condition=c)), to_numpy(model(x)))


def test_a_quantized_target_is_baked_before(rng):
    model = target("Dense")
    model.get_layer("layer").quantize("int8")
    hyper = hypernetwork(model)
    with pytest.raises(ValueError, match="Bake the model first"):
        hyper.bake(np.ones(3, "float32"))


def test_a_layer_with_lora_is_not_called_for_each_sample(rng):
    target = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    target.layers[0].enable_lora(1)
    target.layers[0].quantize("int8")
    hyper = Hypernetwork(target, LowRankGenerator(1), condition=2, composition="add")
    assert hyper.mapped_layers() == []


def test_adapters_of_a_target_that_is_quantized_later(rng, tmp_path):
    target = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    hyper = Hypernetwork(target, LowRankGenerator(1), condition=2, composition="add")
    target.layers[0].quantize("int8")
    gate = hyper.generated_weights["dense/kernel"].gate
    gate.assign(0.5)
    hyper.save_adapter(tmp_path / "a.npz")
    hyper(rng.normal(size=(2, 4)), condition=rng.normal(size=2))
    gate.assign(0.0)
    hyper.load_adapter(tmp_path / "a.npz")
    assert float(to_numpy(gate.value)) == 0.5
