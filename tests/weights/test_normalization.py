"""Weights that are normalised after they are generated."""

import keras
import numpy as np
import pytest

import keras_hyper
from helpers import FLOAT64, JIT, TRUE_FLOAT64, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    GeneratedWeight,
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
    "linear-native": lambda **kwargs: LinearGenerator(initialization="native", **kwargs),
    "mlp": MLPGenerator,
    "tiled": lambda **kwargs: TiledKernelGenerator((2, 4), embedding_dim=2, **kwargs),
    "chunked": lambda **kwargs: ChunkedGenerator(5, **kwargs),
    "low-rank": lambda **kwargs: LowRankGenerator(2, **kwargs),
    "templates": lambda **kwargs: TemplateGenerator(3, **kwargs),
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("kind", ["layer", "rms", "weight"])
@pytest.mark.parametrize("condition_dim", [None, 3], ids=["static", "conditioned"])
def test_every_generator_normalises_by_the_equations(make, kind, condition_dim, rng):
    keras.config.set_dtype_policy("float64")
    generated = GeneratedWeight(make(normalization=kind), (5, 4), "lecun_normal")
    generated.build(None if condition_dim is None else (None, condition_dim))
    for v in generated.weights:
        if v is not generated.normalizer.gain:
            v.assign(rng.normal(size=v.shape))
    gain = rng.normal(size=generated.normalizer.gain.shape)
    assert gain.shape == ((1, 4) if kind == "weight" else ())
    generated.normalizer.gain.assign(gain)
    condition = None if condition_dim is None else rng.normal(size=(2, condition_dim))
    raw = to_numpy(generated.generator.kernel(generated.embed(condition), (5, 4)).materialize())
    expected = [
        equations.normalize(w, kind, (-1,)) * gain / np.sqrt(5) for w in raw.reshape(-1, 5, 4)
    ]
    weights = to_numpy(generated(condition)).reshape(-1, 5, 4)
    np.testing.assert_allclose(weights, expected, **FLOAT64)


@pytest.mark.parametrize("kind", ["layer", "rms", "weight"])
def test_normalised_weights_start_with_the_variance_of_the_initializer(kind):
    for make in GENERATORS.values():
        generated = GeneratedWeight(make(normalization=kind), (50, 40), "he_normal")
        generated.build(None)
        mean_square = np.mean(to_numpy(generated()) ** 2)
        assert mean_square == pytest.approx(2 / 50, rel=1e-3)


def test_the_units_of_a_depthwise_kernel_are_its_channels_and_filters(rng):
    layer = HyperDepthwiseConv2D(
        3, depth_multiplier=2, generator=LinearGenerator(normalization="weight")
    )
    layer.build((None, 8, 8, 5))
    assert layer.kernel_weight.normalizer.gain.shape == (1, 1, 5, 2)
    kernel = to_numpy(layer.generate()["kernel"])
    mean_squares = np.mean(kernel**2, axis=(0, 1))
    np.testing.assert_allclose(mean_squares, mean_squares.mean(), rtol=1e-3)


def batch_normalized(**kwargs):
    generated = GeneratedWeight(LinearGenerator(8, normalization="batch"), (5, 4), **kwargs)
    generated.build((None, 3))
    return generated


def test_batch_norm_is_over_the_weight_sets_of_the_batch(rng):
    generated = batch_normalized(initializer="lecun_normal")
    conditions = rng.normal(size=(200, 3)).astype("float32")
    raw = to_numpy(generated.generator.kernel(generated.embed(conditions), (5, 4)).materialize())
    weights = to_numpy(generated(conditions, training=True))
    expected = (raw - raw.mean(axis=0)) / np.sqrt(raw.var(axis=0) + 1e-3) / np.sqrt(5)
    np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-4)
    # The moving averages went a step of 0.01 from 0 towards the mean of the batch.
    moving = generated.normalizer.batch.moving_mean.numpy()
    np.testing.assert_allclose(moving, 0.01 * raw.mean(axis=0).reshape(-1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rank_1", [False, True])
def test_batch_norm_takes_moving_averages_in_inference_and_for_one_weight(rank_1, rng):
    generated = batch_normalized(initializer="lecun_normal")
    mean, variance = rng.normal(size=20), rng.uniform(0.5, 2, size=20)
    generated.normalizer.batch.moving_mean.assign(mean)
    generated.normalizer.batch.moving_variance.assign(variance)
    condition = rng.normal(size=(3,) if rank_1 else (1, 3)).astype("float32")
    raw = to_numpy(generated.generator.kernel(generated.embed(condition), (5, 4)).materialize())
    weight = to_numpy(generated(condition, training=rank_1))
    expected = (raw.reshape(20) - mean) / np.sqrt(variance + 1e-3) / np.sqrt(5)
    np.testing.assert_allclose(weight.reshape(20), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("jit", sorted({False, JIT}))
def test_batch_norm_learns_its_averages_in_fit(jit, rng):
    inputs, conditions = keras.Input((6,)), keras.Input((3,))
    layer = HyperDense(2, generator=LinearGenerator(normalization="batch"))
    x = keras.layers.BatchNormalization()(inputs)
    x = keras.layers.LayerNormalization()(layer(x, condition=conditions))
    model = keras.Model([inputs, conditions], x)
    model.compile("adam", "mse", jit_compile=jit)
    data = [rng.normal(size=(16, n)).astype("float32") for n in (6, 3)]
    before = layer.kernel_weight.normalizer.batch.moving_variance.numpy()
    model.fit(data, rng.normal(size=(16, 2)).astype("float32"), epochs=2, verbose=0)
    after = layer.kernel_weight.normalizer.batch.moving_variance.numpy()
    assert np.abs(after - before).max() > 1e-3
    assert np.isfinite(model.predict(data, verbose=0)).all()


def test_batch_norm_without_a_condition_is_refused():
    layer = HyperDense(3, generator=LinearGenerator(normalization="batch"))
    with pytest.raises(ValueError, match="which is static. Use 'layer', 'rms' or 'weight'"):
        layer.build((None, 4))


def test_an_initializer_without_a_variance_cannot_be_normalised_to():
    layer = HyperDense(
        3, generator=LinearGenerator(normalization="rms"), kernel_initializer="zeros"
    )
    with pytest.raises(
        ValueError, match="requires an initializer of known nonzero standard deviation"
    ):
        layer.build((None, 4))


def test_the_papers_start_is_not_to_be_normalised():
    with pytest.raises(ValueError, match="Use initialization='variance'"):
        TiledKernelGenerator((2, 4), initialization="paper", normalization="rms")


def test_normalised_layers_bake(rng):
    generator = LinearGenerator(normalization="weight")
    model = keras.Sequential([keras.Input((6,)), HyperDense(4, generator=generator)])
    x = rng.normal(size=(3, 6)).astype("float32")
    tolerance = 1e-6 if TRUE_FLOAT64 else 1e-5
    expected = to_numpy(model(x))
    np.testing.assert_allclose(to_numpy(keras_hyper.bake(model)(x)), expected, rtol=tolerance)


@pytest.mark.parametrize(
    ("kind", "shape", "composition"),
    [("weight", (6, 4), "scale"), ("weight", (1, 4), "replace"), ("rms", (1, 1), "replace")],
)
def test_one_number_is_not_normalised_by_itself(kind, shape, composition):
    generator = LinearGenerator(8, normalization=kind)
    generated = GeneratedWeight(generator, shape, composition=composition)
    with pytest.raises(ValueError, match=f"normalization='{kind}' of one number"):
        generated.build((None, 3))


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_sums_over_large_weights_fit_into_half_precision(kind, rng):
    """With a mean of 2, 512 x 512 numbers sum up to 5e5; float16 ends at 65,504."""
    keras.config.set_dtype_policy("mixed_float16")
    generated = GeneratedWeight(MLPGenerator((16,), normalization=kind), (512, 512))
    generated.build(None)
    generated.generator.head.bias.assign(2 + rng.normal(size=512 * 512))
    weight = to_numpy(generated()).astype("float64")
    expected = 512**-0.5  # glorot_uniform
    assert np.sqrt(np.mean(weight**2)) == pytest.approx(expected, rel=0.02)
    assert bool(abs(weight.mean()) < 0.01 * expected) is (kind == "layer")


def test_batch_normalization_stores_a_gain_and_no_shift():
    """A shift would be a stored weight."""
    generator = LinearGenerator(2, normalization="batch")
    generated = GeneratedWeight(generator, (4, 5))
    generated.build((None, 3))
    shapes = {v.name: tuple(v.shape) for v in generated.normalizer.weights}
    assert shapes == {"gain": (), "moving_mean": (20,), "moving_variance": (20,)}


def test_the_units_of_factors_are_the_columns_of_their_matrix(rng):
    generator = LowRankGenerator(2, 3, normalization="weight")
    weight = GeneratedWeight(generator, (6, 5), input_axes=(1,), unit_axes=(0,))
    weight.build()
    size = np.sqrt(np.mean(to_numpy(weight()) ** 2, axis=1))
    np.testing.assert_allclose(size, size[0], rtol=1e-5)
