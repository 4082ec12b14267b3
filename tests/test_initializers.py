"""Generated weights start with the variance that stock initializers give."""

import keras
import numpy as np
import pytest

from helpers import long_where_compiled, to_numpy
from keras_hyper import (
    GeneratedWeight,
    HyperConv2D,
    HyperDense,
    LinearGenerator,
    MLPGenerator,
    TiledKernelGenerator,
)
from keras_hyper.generators import DirectGenerator
from keras_hyper.initializers import UnitGainOrthogonal, UnitRMS, weight_std

INITIALIZERS = {
    "glorot_uniform": "glorot_uniform",
    "he_normal": "he_normal",
    "fan_out": keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
    "random_normal": keras.initializers.RandomNormal(stddev=0.3),
    "truncated_normal": keras.initializers.TruncatedNormal(stddev=0.3),
    "random_uniform": keras.initializers.RandomUniform(-0.2, 0.2),
    "orthogonal": keras.initializers.Orthogonal(gain=1.4),
}
ALWAYS = ("glorot_uniform", "he_normal", "orthogonal")
GENERATORS = {
    "default": lambda tile: None,
    "direct": lambda tile: DirectGenerator(),
    "linear": lambda tile: LinearGenerator(4),
    "mlp": lambda tile: MLPGenerator((32,), embedding_dim=4),
    "tiled": lambda tile: TiledKernelGenerator(tile, embedding_dim=4),
    "tiled-wide": lambda tile: TiledKernelGenerator(tile, embedding_dim=32, hidden_dim=2),
}
LAYERS = {
    "dense": (HyperDense, (), (40,), (8, 8), keras.layers.Dense),
    "conv": (HyperConv2D, (3,), (8, 8, 12), (3, 3, 4, 8), keras.layers.Conv2D),
}


def fresh(initializer):
    """A new instance: one instance draws the same numbers every time."""
    initializer = keras.initializers.get(initializer)
    config = {**initializer.get_config(), "seed": None}
    return type(initializer).from_config(config)


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


@pytest.mark.parametrize("conditioned", [False, True], ids=["static", "conditioned"])
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize(
    "initializer",
    [
        # The others differ in the configuration alone, which another test reads.
        pytest.param(name, marks=() if name in ALWAYS else pytest.mark.long)
        for name in INITIALIZERS
    ],
)
def test_std_is_the_stock_initializers(initializer, generator, layer, conditioned, rng):
    """Kernels scatter by at most 2%, those of few hidden units by 6%: the means by 1.3%."""
    cls, arguments, inputs, tile, stock = LAYERS[layer]
    generated = []
    for _ in range(20 if generator == "tiled-wide" else 5):
        hyper = cls(
            30,
            *arguments,
            kernel_initializer=fresh(INITIALIZERS[initializer]),
            generator=GENERATORS[generator](tile),
        )
        condition = rng.normal(size=(2, 6)).astype("float32") if conditioned else None
        hyper.build((None, *inputs), (None, 6) if conditioned else None)
        generated.append(to_numpy(hyper.generate(condition)["kernel"]).std())
    plain = stock(30, *arguments, kernel_initializer=fresh(INITIALIZERS[initializer]))
    plain.build((None, *inputs))
    drawn = [to_numpy(fresh(INITIALIZERS[initializer])(plain.kernel.shape)) for _ in range(5)]
    assert rms(generated) == pytest.approx(rms(drawn), rel=0.1)


@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
@pytest.mark.parametrize("shape", [(200, 60), (3, 3, 20, 50)])
def test_weight_std_is_read_from_the_configuration(initializer, shape):
    draw = to_numpy(fresh(initializer)(shape))
    std = weight_std(keras.initializers.get(initializer), shape)
    assert std == pytest.approx(draw.std(), rel=0.03)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("shape", [(2000,), (1,), ()])
def test_the_fans_of_vectors_and_numbers_are_those_of_keras(mode, shape):
    initializer = keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")
    draws = [to_numpy(fresh(initializer)(shape)) for _ in range(600 if shape != (2000,) else 10)]
    assert weight_std(initializer, shape) == pytest.approx(rms(draws), rel=0.1)


def test_weight_std_knows_axes():
    try:
        initializer = keras.initializers.GlorotUniform(input_axes=[0, 1], output_axes=[2])
    except TypeError:
        pytest.skip("this Keras has no `input_axes`")
    draw = to_numpy(initializer((20, 30, 40)))
    assert weight_std(initializer, (20, 30, 40)) == pytest.approx(draw.std(), rel=0.03)


@pytest.mark.parametrize(
    "initializer",
    ["ones", "identity", keras.initializers.RandomNormal(mean=1.0), lambda shape, dtype: 0],
)
def test_weight_std_is_none_where_it_cannot_be_known(initializer):
    assert weight_std(keras.initializers.get(initializer), (3, 3)) is None


def test_the_variance_of_one_shared_generator_is_exact_not_only_on_average():
    """Every draw, not the mean of many: all layers share a shared generator's error."""
    for _ in range(5):
        generator = TiledKernelGenerator((3, 3, 16, 16), embedding_dim=8)
        generated = GeneratedWeight(generator, (3, 3, 32, 32), "he_normal")
        generated.build(None)
        kernel = to_numpy(generated())
        assert rms(kernel) == pytest.approx(np.sqrt(2 / 288), rel=1e-4)


DEEP = {
    "linear": lambda: LinearGenerator(),
    "mlp": lambda: MLPGenerator(),
    "shared-tiles": None,
    "default": lambda: None,
}


@pytest.mark.parametrize(
    "conditioned", [False, long_where_compiled(True)], ids=["static", "conditioned"]
)
@pytest.mark.parametrize("generator", DEEP)
def test_activations_keep_their_variance_through_ten_layers(generator, conditioned, rng):
    """The variance after ten layers of 64 units, against ten stock layers.

    The logarithm of the variance after one layer of n units scatters by about
    sqrt(2 / n) = 0.18, after ten by 0.56, and the mean over 10 networks by 0.18;
    the difference of two such means by 0.25. The bound is little over twice that.
    A gain wrong by 10% in each layer's variance would shift it by 0.95.
    """
    x = rng.normal(size=(64, 64)).astype("float32")
    condition = rng.normal(size=(5,)).astype("float32") if conditioned else None

    def log_variance(layers):
        h = x
        for layer in layers:
            h = layer(h, condition=condition) if isinstance(layer, HyperDense) else layer(h)
        return np.log(to_numpy(h).var())

    def hyper_layers():
        shared = TiledKernelGenerator((16, 16), embedding_dim=8)
        make = DEEP[generator] or (lambda: shared)
        return [
            HyperDense(64, kernel_initializer="lecun_normal", generator=make()) for _ in range(10)
        ]

    hyper, stock = [], []
    for _ in range(10):
        hyper.append(log_variance(hyper_layers()))
        plain = [keras.layers.Dense(64, kernel_initializer="lecun_normal") for _ in range(10)]
        stock.append(log_variance(plain))
    assert np.mean(hyper) == pytest.approx(np.mean(stock), abs=0.55)


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_activations_keep_their_variance_through_ten_convolutions(shared, rng):
    """As above, for 3 x 3 kernels: a generator for each layer, and the paper's for all.

    The zeros around the image cost the stock network variance, too. The logarithm
    after ten layers scatters by 0.1 to 0.2 between networks, the difference of two
    means over 10 by 0.1; the bound is four times that. A gain wrong by 10% in each
    layer's variance shifts it by 0.95. (One generator with an embedding of 8 for all
    ten layers does shift it by 1: kernels from so narrow a generator are alike.)
    """
    x = rng.normal(size=(8, 8, 8, 16)).astype("float32")
    options = {"padding": "same", "kernel_initializer": "lecun_normal"}
    hyper, stock = [], []
    for _ in range(10):
        generator = TiledKernelGenerator((3, 3, 16, 16), embedding_dim=64) if shared else None
        h = s = x
        for _ in range(10):
            own = generator or TiledKernelGenerator((3, 3, 8, 8), embedding_dim=8)
            h = HyperConv2D(16, 3, **options, generator=own)(h)
            s = keras.layers.Conv2D(16, 3, **options)(s)
        hyper.append(np.log(to_numpy(h).var()))
        stock.append(np.log(to_numpy(s).var()))
    assert np.mean(hyper) == pytest.approx(np.mean(stock), abs=0.4)


@pytest.mark.parametrize("cls", [UnitRMS, UnitGainOrthogonal])
def test_initializers_are_keras_initializers(cls):
    initializer = cls(seed=3)
    revived = keras.initializers.deserialize(keras.initializers.serialize(initializer))
    shape = (4, 9)
    np.testing.assert_array_equal(to_numpy(initializer(shape)), to_numpy(revived(shape)))
    assert np.abs(to_numpy(cls()(shape)) - to_numpy(cls()(shape))).max() > 0
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        assert keras.backend.standardize_dtype(initializer(shape, dtype=dtype).dtype) == dtype


def test_unit_rms_vectors_have_length_one_and_no_two_are_equal():
    z = to_numpy(UnitRMS()((500, 2)))
    np.testing.assert_allclose(np.mean(z**2, axis=-1), 1.0, rtol=1e-5)
    assert np.abs(np.mean(z)) < 0.1
    assert len(np.unique(z.round(6), axis=0)) == 500


@pytest.mark.parametrize("shape", [(8, 100), (100, 8), (1, 5)])
def test_unit_gain_orthogonal_has_variance_one_over_fan_in(shape):
    m = to_numpy(UnitGainOrthogonal()(shape)).astype("float64")
    assert np.mean(m**2) == pytest.approx(1 / shape[0], rel=1e-4)
    gram = m @ m.T if shape[0] <= shape[1] else m.T @ m
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-4)
