"""The paper's kernel generator: its equations, its counts, its tiling."""

import re

import keras
import numpy as np
import pytest

from helpers import FLOAT64, to_numpy
from keras_hyper import GeneratedWeight, HyperConv2D, TiledKernelGenerator, summary
from reference import equations


def generator_arrays(generator):
    """Returns `(W, B, W_out, B_out)` in the paper's layout, in float64."""
    n_in, n_out = generator.tile[-2:]
    d, n_z, spatial = generator.hidden_dim, generator.embedding_dim, generator.tile[:-2]
    w, b, w_out, b_out = (v.numpy().astype("float64") for v in generator.weights)
    w = np.stack([w[:, i * d : (i + 1) * d].T for i in range(n_in)])
    assert w.shape == (n_in, d, n_z)
    b = b.reshape(n_in, d)
    w_out = np.moveaxis(w_out.reshape(d, *spatial, n_out), 0, -1)
    return w, b, w_out, b_out.reshape(*spatial, n_out)


def randomise(layer, rng):
    """Biases start at zero; equations are tested where nothing is."""
    for v in layer.weights:
        v.assign(rng.normal(size=v.shape))


@pytest.mark.parametrize(
    ("tile", "shape"),
    [
        ((3, 3, 2, 4), (3, 3, 2, 4)),  # One tile.
        ((3, 3, 2, 4), (3, 3, 6, 8)),  # A grid of three by two.
        ((3, 2, 3, 2), (3, 2, 4, 5)),  # Channels that are no multiple: cropped.
        ((3, 2, 3, 2), (3, 2, 1, 1)),  # A tile larger than the kernel.
        ((2, 3), (7, 8)),  # A dense kernel.
        ((3, 2, 3), (3, 4, 7)),  # A 1D convolution's.
    ],
)
def test_kernels_follow_equations_1_to_3(tile, shape, rng):
    generator = TiledKernelGenerator(tile=tile, embedding_dim=5, hidden_dim=4, dtype="float64")
    generated = GeneratedWeight(generator, shape, dtype="float64")
    generated.build(None)
    randomise(generated, rng)
    expected = equations.tiled_kernel(
        generated.embedding.numpy(), *generator_arrays(generator), shape
    )
    kernel = to_numpy(generated())
    assert kernel.shape == shape
    np.testing.assert_allclose(kernel, expected * generated.scale, **FLOAT64)


def test_conditioned_kernels_follow_the_equations_sample_by_sample(rng):
    generator = TiledKernelGenerator((3, 3, 2, 4), embedding_dim=5, dtype="float64")
    generated = GeneratedWeight(generator, (3, 3, 4, 6), dtype="float64")
    generated.build((None, 3))
    randomise(generated, rng)
    conditions = rng.normal(size=(2, 3))
    kernels = to_numpy(generated(conditions))
    for condition, kernel in zip(conditions, kernels, strict=True):
        e = equations.embedding(
            generated.embedding.numpy(), generated.projection.kernel.numpy(), condition
        )
        expected = equations.tiled_kernel(e, *generator_arrays(generator), (3, 3, 4, 6))
        np.testing.assert_allclose(kernel, expected * generated.scale, **FLOAT64)


def test_one_tile_of_the_mnist_network_is_the_first_rows_tile():
    """Tiles are laid out row by row: the second embedding is the second column."""
    generator = TiledKernelGenerator((1, 1, 2, 2), embedding_dim=1)
    generated = GeneratedWeight(generator, (1, 1, 4, 6))
    generated.build(None)
    before = to_numpy(generated())
    embedding = generated.embedding.numpy()
    embedding[1] += 1.0
    generated.embedding.assign(embedding)
    changed = np.abs(to_numpy(generated()) - before)[0, 0] > 0
    expected = np.zeros((4, 6), bool)
    expected[:2, 2:4] = True
    np.testing.assert_array_equal(changed, expected)


def test_mnist_network_counts():
    """Paper 4.1: 4,240 numbers make a kernel of 12,544; 12,910 against 21,210 in all."""

    def network(second):
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                keras.layers.Conv2D(16, 7, padding="same", activation="relu"),
                keras.layers.MaxPooling2D(),
                second,
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(10),
            ]
        )

    arguments = {"filters": 16, "kernel_size": 7, "padding": "same", "activation": "relu"}
    plain = network(keras.layers.Conv2D(**arguments))
    generator = TiledKernelGenerator(tile=(7, 7, 16, 16), embedding_dim=4)
    hyper = network(HyperConv2D(**arguments, generator=generator))
    assert generator.count_params() == 4240
    assert plain.count_params() == 21210
    assert hyper.count_params() == 12910
    figures = summary(hyper, print_fn=lambda line: None)
    assert figures.generated == 12544
    assert (figures.stored, figures.plain) == (12910, 21210)
    assert figures.weights[0].stored == 4


@pytest.mark.parametrize(("k", "embeddings", "total"), [(1, 242, 91408), (2, 966, 137744)])
def test_wide_residual_network_counts(k, embeddings, total):
    """Paper 4.2: one generator of 75,920 numbers for the 36 kernels of WRN 40-1 and 40-2."""
    generator = TiledKernelGenerator(tile=(3, 3, 16, 16), embedding_dim=64)
    channels, weights = 16, []
    for width in (16 * k, 32 * k, 64 * k):
        for _ in range(12):
            generated = GeneratedWeight(generator, (3, 3, channels, width))
            generated.build(None)
            weights.append(generated)
            channels = width
    assert len(weights) == 36
    assert generator.count_params() == 75920
    assert sum(generated.embedding.shape[0] for generated in weights) == embeddings
    own = sum(generated.count_params() - generator.count_params() for generated in weights)
    assert generator.count_params() + own == total


def test_paper_initialisation_is_the_notebooks():
    """The notebook's kernel starts at a standard deviation of 2.5e-4."""
    stds = []
    for _ in range(20):
        generator = TiledKernelGenerator(
            tile=(7, 7, 16, 16), embedding_dim=4, initialization="paper"
        )
        generated = GeneratedWeight(generator, (7, 7, 16, 16), "he_normal")
        generated.build(None)
        assert generated.scale == 1.0
        stds.append(to_numpy(generated()).std())
    weights = generator.weights
    for v in (weights[0], weights[2]):
        # Truncated at two standard deviations.
        assert np.abs(v.numpy()).max() <= 0.02
        assert v.numpy().std() == pytest.approx(0.0088, rel=0.1)
    assert not weights[1].numpy().any()
    assert not weights[3].numpy().any()
    # z has standard deviation 1 around 0.01, not the other way round.
    embeddings = to_numpy(generator.embedding_initializer((7, 7, 16, 16), None)((5000, 4)))
    assert np.std(embeddings) == pytest.approx(0.88, rel=0.03)
    assert np.mean(embeddings) == pytest.approx(0.01, abs=0.02)
    # sqrt(N_z d) 0.0088^2 0.88 for uncut normals of the same deviations.
    assert np.sqrt(np.mean(np.square(stds))) == pytest.approx(2.7e-4, rel=0.2)


def test_it_serves_layers_of_any_channels_and_is_counted_once():
    generator = TiledKernelGenerator(tile=(3, 3, 4, 4), embedding_dim=2)
    layers = [HyperConv2D(n, 3, padding="same", generator=generator) for n in (4, 8, 6)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    own = 2 * 1 + 2 * 2 + 2 * 4 + (4 + 8 + 6)
    assert model.count_params() == generator.count_params() + own


def test_as_a_layer_of_its_own():
    generator = TiledKernelGenerator(tile=(3, 3, 4, 5), embedding_dim=2)
    assert generator(np.zeros((7, 2), "float32")).shape == (7, 4, 45)
    with pytest.raises(ValueError, match="axis -1 of input shape"):
        generator(np.zeros((7, 3), "float32"))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"tile": (3, 3, 0, 4)}, ValueError, r"`tile\[2\]` must be a positive integer.*=0"),
        ({"tile": (3, 3, 1.5, 4)}, TypeError, r"`tile\[2\]` must be a positive integer.*1\.5"),
        ({"tile": 16}, TypeError, "`tile` must be a tuple of positive integers.*16"),
        ({"tile": (16,)}, ValueError, r"`tile` must have at least two axes.*\(16,\)"),
        ({"tile": (4, 4), "embedding_dim": 0}, ValueError, "`embedding_dim`.*=0"),
        ({"tile": (4, 4), "hidden_dim": -1}, ValueError, "`hidden_dim`.*=-1"),
        (
            {"tile": (4, 4), "initialization": "glorot"},
            ValueError,
            "`initialization` must be one of 'variance', 'paper'.*'glorot'",
        ),
    ],
)
def test_bad_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        TiledKernelGenerator(**kwargs)


@pytest.mark.parametrize("shape", [(5, 5, 4, 4), (4, 4), (3, 3, 3, 4, 4)])
def test_a_tile_that_cannot_make_the_shape(shape):
    generator = TiledKernelGenerator(tile=(3, 3, 4, 4))
    generated = GeneratedWeight(generator, shape)
    message = r"tile=\(3, 3, 4, 4\) makes kernels of shape \(3, 3, 'any', 'any'\)\. Received: "
    advice = re.escape(f"{shape}. Use a generator with tile={(*shape[:-2], 'n_in', 'n_out')}.")
    with pytest.raises(ValueError, match=f"{message}weight_shape={advice}"):
        generated.build(None)


@pytest.mark.parametrize("initializer", ["ones", "zeros", lambda shape, dtype: 1.0])
def test_an_initializer_that_tiles_cannot_match(initializer):
    layer = HyperConv2D(
        4,
        3,
        generator=TiledKernelGenerator(tile=(3, 3, 4, 4)),
        kernel_initializer=initializer,
    )
    with pytest.raises(ValueError, match="cannot match the initializer.*Use a VarianceScaling"):
        layer.build((None, 8, 8, 4))
