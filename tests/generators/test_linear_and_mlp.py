"""The generators with a head for one weight shape: linear and multi-layer."""

import keras
import numpy as np
import pytest

from helpers import FLOAT64, to_numpy
from keras_hyper import GeneratedWeight, HyperDense, LinearGenerator, MLPGenerator
from keras_hyper.generators import DirectGenerator
from keras_hyper.kernels import Full, Mixture
from reference import equations

SHAPE = (3, 4)


def built(generator, condition_dim=None, rng=None, shape=SHAPE, **kwargs):
    generated = GeneratedWeight(generator, shape, dtype="float64", **kwargs)
    generated.build(None if condition_dim is None else (None, condition_dim))
    if rng is not None:
        for v in generated.weights:
            v.assign(rng.normal(size=v.shape))
    return generated


def expected_weight(generated, e):
    """The weight for one embedding, by the equations."""
    generator = generated.generator
    if isinstance(generator, MLPGenerator):
        layers = [(d.kernel.numpy(), d.bias.numpy()) for d in generator.hidden]
        e = equations.mlp_features(e, layers, lambda x: 1 / (1 + np.exp(-x)))
    head = generator.head
    return generated.scale * equations.linear_weight(
        e, head.kernel.numpy(), head.bias.numpy(), generated.weight_shape
    )


GENERATORS = {
    "linear": lambda: LinearGenerator(5, dtype="float64"),
    "mlp": lambda: MLPGenerator((6, 7), "sigmoid", embedding_dim=5, dtype="float64"),
}
over_generators = pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)


@over_generators
def test_static_weight_follows_the_equations(make, rng):
    generated = built(make(), rng=rng)
    kernel = generated.kernel()
    assert isinstance(kernel, Full)
    expected = expected_weight(generated, generated.embedding.numpy()[0])
    np.testing.assert_allclose(to_numpy(kernel.materialize()), expected, **FLOAT64)


@over_generators
def test_conditioned_weight_follows_the_equations(make, rng):
    generated = built(make(), condition_dim=2, rng=rng)
    conditions = rng.normal(size=(3, 2))
    kernel = generated.kernel(conditions)
    assert isinstance(kernel, Mixture)
    weights = to_numpy(kernel.materialize())
    assert weights.shape == (3, *SHAPE)
    for condition, weight in zip(conditions, weights, strict=True):
        e = equations.embedding(
            generated.embedding.numpy(), generated.projection.kernel.numpy(), condition
        )
        np.testing.assert_allclose(weight, expected_weight(generated, e[0]), **FLOAT64)
        one = to_numpy(generated(condition))
        np.testing.assert_allclose(one, weight, **FLOAT64)


@over_generators
@pytest.mark.parametrize("initializer", ["orthogonal", "identity", "random_normal"])
def test_native_start_is_the_initializers_draw(make, initializer):
    initializer = keras.initializers.get(initializer)
    generated = built(make(), shape=(30, 30), initializer=initializer)
    draw = to_numpy(initializer((30, 30), dtype="float64"))
    np.testing.assert_allclose(
        generated.generator.head.bias.numpy().reshape(30, 30), draw, atol=1e-7
    )
    rest = to_numpy(generated()) - draw
    # The root mean square of 900 numbers scatters by 2.4%.
    share = np.sqrt(np.mean(rest**2)) / np.sqrt(np.mean(draw**2))
    assert share == pytest.approx(0.01, rel=0.1)


def test_native_can_be_asked_for():
    generator = LinearGenerator(4, initialization="native", dtype="float64")
    initializer = keras.initializers.GlorotUniform(seed=1)
    generated = built(generator, initializer=initializer)
    draw = to_numpy(initializer(SHAPE, dtype="float64"))
    np.testing.assert_allclose(generator.head.bias.numpy().reshape(SHAPE), draw, atol=1e-7)
    assert generated.scale == 1.0


def test_native_survives_clone_model_and_files(tmp_path):
    layer = HyperDense(6, kernel_initializer="orthogonal", generator=LinearGenerator(4))
    model = keras.Sequential([keras.Input((6,)), layer])
    model.save(tmp_path / "m.keras")
    for other in (
        keras.models.clone_model(model),
        keras.models.load_model(tmp_path / "m.keras"),
    ):
        kernel = to_numpy(other.layers[0].generate()["kernel"])
        np.testing.assert_allclose(kernel @ kernel.T, np.eye(6), atol=0.2)


def test_one_generator_serves_one_shape():
    generator = LinearGenerator()
    HyperDense(4, generator=generator).build((None, 3))
    HyperDense(4, generator=generator).build((None, 3))
    with pytest.raises(
        ValueError, match=r"was built for \(3, 4\). Received: weight_shape=\(3, 5\).*share one that"
    ):
        HyperDense(5, generator=generator).build((None, 3))


def test_one_generator_cannot_start_two_ways():
    for first, second in (("he_normal", "orthogonal"), ("ones", "orthogonal")):
        generator = LinearGenerator()
        HyperDense(4, generator=generator, kernel_initializer=first).build((None, 4))
        with pytest.raises(ValueError, match="has only one bias.*Orthogonal"):
            HyperDense(4, generator=generator, kernel_initializer=second).build((None, 4))


def test_one_generator_serves_layers_that_start_alike():
    for first, second in (("he_normal", "glorot_uniform"), ("orthogonal", "orthogonal")):
        generator = LinearGenerator()
        layers = [HyperDense(4, generator=generator, kernel_initializer=i) for i in (first, second)]
        for layer in layers:
            layer.build((None, 4))
        assert all(layer.kernel_weight.generator is generator for layer in layers)
        assert generator.count_params() == (8 + 1) * 16


def test_alone_it_does_not_know_its_shape():
    with pytest.raises(ValueError, match="learns from the layer that uses it.*`prepare"):
        LinearGenerator(3)(np.zeros((1, 3), "float32"))


def test_dropout_acts_in_training_only():
    generator = MLPGenerator((32,), dropout=0.5, seed=3)
    layer = HyperDense(4, generator=generator)
    x = np.ones((2, 5), "float32")
    outputs = [to_numpy(layer(x, training=training)) for training in (False, False, True, True)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[2] - outputs[0]).max() > 0
    assert np.abs(outputs[2] - outputs[3]).max() > 0


def test_hidden_layers_may_have_any_activation_without_changing_the_variance():
    for activation in ("relu", "tanh", "softplus", lambda x: 100.0 * x):
        std = []
        for _ in range(20):
            generated = GeneratedWeight(MLPGenerator((16, 16), activation), (30, 30), "he_normal")
            generated.build(None)
            std.append(to_numpy(generated()).std())
        assert np.sqrt(np.mean(np.square(std))) == pytest.approx(np.sqrt(2 / 30), rel=0.1)


def test_the_direct_generator_is_the_embedding():
    generated = built(DirectGenerator(dtype="float64"), shape=(2, 3))
    assert generated.count_params() == 6
    expected = generated.scale * generated.embedding.numpy().reshape(2, 3)
    np.testing.assert_array_equal(to_numpy(generated()), expected)


@pytest.mark.parametrize("initialization", ["variance", "native"])
def test_the_direct_generator_depends_on_the_condition_from_the_start(initialization, rng):
    """Unless it starts natively, where the draw is the start for every condition."""
    generated = GeneratedWeight(DirectGenerator(initialization), (4, 5))
    generated.build((None, 3))
    a, b = to_numpy(generated(rng.normal(size=(2, 3)).astype("float32")))
    assert (np.abs(a - b).max() > 0.01) == (initialization == "variance")


@pytest.mark.parametrize("initializer", ["zeros", "ones", "identity", "orthogonal"])
def test_the_native_direct_generator_starts_at_the_draw(initializer, rng):
    initializer = keras.initializers.get(initializer)
    draw = to_numpy(initializer((4, 4), dtype="float32"))
    for condition_dim in (None, 3):
        generated = GeneratedWeight(DirectGenerator("native"), (4, 4), initializer)
        generated.build(None if condition_dim is None else (None, condition_dim))
        condition = None if condition_dim is None else rng.normal(size=3).astype("float32")
        np.testing.assert_allclose(to_numpy(generated(condition)), draw, atol=1e-7)


@pytest.mark.parametrize("conditioned", [False, True], ids=["static", "conditioned"])
def test_int8_quantization_of_the_generator(conditioned, rng):
    layer = HyperDense(16, generator=MLPGenerator((32,)))
    data = {"inputs": np.ones((2, 8), "float32")}
    if conditioned:
        data["condition"] = rng.normal(size=(2, 4)).astype("float32")
    before = to_numpy(layer(**data))
    for dense in (*layer.generator.hidden, layer.generator.head):
        dense.quantize("int8")
    after = to_numpy(layer(**data))
    assert 0 < np.abs(after - before).max() < 0.05 * np.abs(before).max()


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantizing_a_model_reaches_the_generator():
    layer = HyperDense(16, generator=MLPGenerator((32,)))
    model = keras.Sequential([keras.Input((8,)), layer])
    before = to_numpy(model(np.ones((2, 8))))
    model.quantize("int8")
    assert layer.generator.head.quantization_mode == "int8"
    after = to_numpy(model(np.ones((2, 8))))
    assert 0 < np.abs(after - before).max() < 0.05 * np.abs(before).max()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LinearGenerator(0), ValueError, "`embedding_dim` must be a positive.*=0"),
        (lambda: LinearGenerator(2.5), TypeError, "`embedding_dim` must be a positive.*2.5"),
        (lambda: LinearGenerator(True), TypeError, "`embedding_dim`.*True"),
        (
            lambda: LinearGenerator(initialization="paper"),
            ValueError,
            "'variance', 'native'.*'paper'",
        ),
        (lambda: MLPGenerator(dropout="0.1"), ValueError, "`dropout` must be a number.*'0.1'"),
        (lambda: MLPGenerator(()), ValueError, "at least one hidden layer.*LinearGenerator"),
        (lambda: MLPGenerator((4, -1)), ValueError, r"`hidden_units\[1\]`.*-1"),
        (
            lambda: MLPGenerator(dropout=1.5),
            ValueError,
            r"`dropout` must be a number in \[0, 1\).*1.5",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("rate", [np.float32(0.25), np.float64(0.25), 0, np.int64(0)])
def test_a_rate_of_dropout_may_be_a_number_of_numpy(rate):
    generator = MLPGenerator(dropout=rate)
    assert generator.get_config()["dropout"] == rate
    assert type(generator.get_config()["dropout"]) is float
