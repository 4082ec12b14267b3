"""A stored base weight and a generated change of it."""

import inspect

import keras
import numpy as np
import pytest

import keras_hyper
from helpers import FLOAT64, gradients, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    GeneratedWeight,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperDense,
    HyperDepthwiseConv2D,
    LinearGenerator,
    LowRankGenerator,
    MLPGenerator,
    TemplateGenerator,
    TiledKernelGenerator,
)
from keras_hyper.generators import DirectGenerator
from reference import equations

GENERATORS = {
    "direct": DirectGenerator,
    "linear": LinearGenerator,
    "mlp": MLPGenerator,
    "tiled": lambda: TiledKernelGenerator((1, 4), embedding_dim=2),
    "chunked": lambda: ChunkedGenerator(5),
    "low-rank": lambda: LowRankGenerator(2),
    "templates": lambda: TemplateGenerator(3),
}
COMPOSITIONS = ["add", "multiply", "scale"]
over_compositions = pytest.mark.parametrize("composition", COMPOSITIONS)
over_conditions = pytest.mark.parametrize("condition_dim", [None, 3], ids=["static", "conditioned"])


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@over_compositions
@over_conditions
def test_every_generator_composes_by_the_equations(make, composition, condition_dim, rng):
    keras.config.set_dtype_policy("float64")
    generated = GeneratedWeight(make(), (5, 4), "he_normal", composition=composition)
    generated.build(None if condition_dim is None else (None, condition_dim))
    base = to_numpy(generated.base.value)
    condition = None if condition_dim is None else rng.normal(size=(2, condition_dim))
    start = to_numpy(generated(condition))
    np.testing.assert_allclose(start, np.broadcast_to(base, start.shape), rtol=1e-12)

    generated.gate.assign(0.3)
    change = generated.generator.kernel(
        generated.embed(condition), generated.generated_shape
    ).materialize()
    # A change of the weight is as large as the weight, a factor as large as 1. Templates
    # are drawn that large, all others are scaled.
    std = np.sqrt(2 / 5) if composition == "add" else 1.0
    scale = 1.0 if isinstance(generated.generator, TemplateGenerator) else std
    change = scale * to_numpy(change)
    assert change.shape[-2:] == ((1, 4) if composition == "scale" else (5, 4))
    expected = equations.compose(composition, base, change, 0.3)
    np.testing.assert_allclose(to_numpy(generated(condition)), expected, **FLOAT64)


@over_compositions
def test_a_change_is_as_large_as_the_weight_and_a_factor_as_large_as_one(composition):
    generated = GeneratedWeight(
        ChunkedGenerator(100), (300, 200), "lecun_normal", None, composition
    )
    generated.build(None)
    change = generated.generator.kernel(generated.embed(), generated.generated_shape).scaled(
        generated.scale
    )
    expected = 300**-0.5 if composition == "add" else 1.0
    assert np.sqrt(np.mean(to_numpy(change.materialize()) ** 2)) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("initializer", ["zeros", "ones", lambda shape, dtype: 0.5])
def test_a_change_of_an_initializer_without_variance_is_that_of_the_inputs(initializer):
    """Like `lecun_normal`: a layer keeps the variance of its inputs."""
    generated = GeneratedWeight(ChunkedGenerator(100), (400, 50), initializer, None, "add")
    generated.build(None)
    assert generated.scale == pytest.approx(400**-0.5)


@over_compositions
@over_conditions
def test_training_starts_at_a_pretrained_layer_and_moves_on(composition, condition_dim, rng):
    x = rng.normal(size=(8, 6)).astype("float32")
    pretrained = keras.layers.Dense(5)
    expected = to_numpy(pretrained(x))
    # The base frozen: what is left to learn is the generated part.
    layer = HyperDense(5, composition=composition, base_trainable=False)
    inputs = [keras.Input((6,))]
    arguments = {}
    data = [x]
    if condition_dim is not None:
        inputs.append(keras.Input((condition_dim,)))
        arguments["condition"] = inputs[1]
        data.append(rng.normal(size=(8, condition_dim)).astype("float32"))
    model = keras.Model(inputs, layer(inputs[0], **arguments))
    layer.kernel_weight.base.assign(pretrained.kernel.numpy())
    layer.bias.assign(pretrained.bias.numpy())
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    y = rng.normal(size=(8, 5)).astype("float32")
    history = model.fit(data, y, epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    np.testing.assert_array_equal(layer.kernel_weight.base.numpy(), pretrained.kernel.numpy())


@pytest.mark.parametrize(
    ("layer", "shape", "units"),
    [
        (lambda: HyperDense(4, composition="scale"), (None, 6), (1, 4)),
        (lambda: HyperConv2D(4, 3, composition="scale"), (None, 8, 8, 2), (1, 1, 1, 4)),
        (
            lambda: HyperDepthwiseConv2D(3, depth_multiplier=2, composition="scale"),
            (None, 8, 8, 5),
            (1, 1, 5, 2),
        ),
        (lambda: HyperConv2DTranspose(4, 3, composition="scale"), (None, 8, 8, 2), (1, 1, 4, 1)),
    ],
    ids=["dense", "conv", "depthwise", "transpose"],
)
def test_scale_has_one_factor_for_each_unit(layer, shape, units, rng):
    layer = layer()
    layer.build(shape, (None, 3))
    assert layer.kernel_weight.generated_shape == units
    assert layer.kernel_weight.projection.kernel.shape == (3, np.prod(units))
    layer.kernel_weight.gate.assign(0.5)
    x, condition = rng.normal(size=(2, *shape[1:])), rng.normal(size=(2, 3))
    x, condition = x.astype("float32"), condition.astype("float32")
    # By the factors on the outputs, against the kernels written out.
    outputs = to_numpy(layer(x, condition=condition))
    for b in range(2):
        arguments = inspect.signature(layer.stock.__init__).parameters
        config = {k: v for k, v in layer.get_config().items() if k in (*arguments, "dtype")}
        plain = layer.stock.from_config(config)
        plain.build(shape)
        plain.set_weights([to_numpy(w) for w in layer.generate(condition[b]).values()])
        np.testing.assert_allclose(
            outputs[b : b + 1], to_numpy(plain(x[b : b + 1])), rtol=1e-4, atol=1e-5
        )


@over_compositions
def test_the_first_gradient_reaches_base_and_gate(composition, rng):
    layer = HyperDense(4, composition=composition)
    x = rng.normal(size=(3, 6)).astype("float32")
    layer(x)
    grads = gradients(lambda x: keras.ops.sum(keras.ops.square(layer(x))), layer, x)
    named = {v.name: g for v, g in zip(layer.trainable_variables, grads, strict=False)}
    assert np.abs(named["base"]).max() > 0
    assert np.abs(named["gate"]).max() > 0


def test_baking_composes(rng):
    model = keras.Sequential([keras.Input((6,)), HyperDense(4, composition="add")])
    model.layers[0].kernel_weight.gate.assign(0.4)
    plain = keras_hyper.bake(model)
    x = rng.normal(size=(3, 6)).astype("float32")
    np.testing.assert_allclose(to_numpy(plain(x)), to_numpy(model(x)), rtol=1e-5, atol=1e-6)


def test_an_unknown_composition_is_named():
    with pytest.raises(ValueError, match="'replace', 'add', 'multiply', 'scale'"):
        HyperDense(3, composition="subtract")


def test_a_frozen_base_stays_frozen_in_files_and_copies(tmp_path):
    model = keras.Sequential([keras.Input((6,))])
    model.add(HyperDense(5, composition="add", base_trainable=False))
    model.save(tmp_path / "model.keras")
    copies = [keras.models.load_model(tmp_path / "model.keras"), keras_hyper.clone(model)]
    for one in [model, *copies]:
        base = one.layers[0].kernel_weight.base
        assert base.name not in [v.name for v in one.trainable_variables]
        assert base.name in [v.name for v in one.non_trainable_variables]
    assert isinstance(keras_hyper.bake(model).layers[0], keras.layers.Dense)


@pytest.mark.parametrize(("shape", "axes"), [((3, 4), (2,)), ((3, 4), (-3,)), ((3, 4), ())])
def test_unit_axes_are_axes_of_the_weight(shape, axes):
    with pytest.raises(ValueError, match="`unit_axes` must name one or more of"):
        GeneratedWeight(LinearGenerator(), shape, composition="scale", unit_axes=axes)


def test_one_number_can_be_scaled():
    generated = GeneratedWeight(LinearGenerator(2), (), "ones", composition="scale")
    generated.build(None)
    assert float(generated()) == 1
    generated.gate.assign(0.5)
    number = float(generated.generator(generated.embed())[0, 0]) * generated.scale
    np.testing.assert_allclose(float(generated()), 1 + 0.5 * number, rtol=1e-6)
