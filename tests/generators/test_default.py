"""The generator of `generator=None`: which tile is chosen, and what it costs."""

import math

import pytest

from keras_hyper import GeneratedWeight, HyperDense, TiledKernelGenerator
from keras_hyper.generators import DirectGenerator, default_generator
from keras_hyper.generators.tiled import tiles_stored

CHOICES = {
    # The highest rank first, even if others have wider embeddings.
    "rank-before-width": (((64, 64), 4), ((16, 4), 4)),
    "rank-before-width-large": (((256, 256), 4), ((32, 16), 16)),
    "rank-before-width-wide-condition": (((128, 64), 16), ((64, 4), 4)),
    # Then the widest embeddings, then the one that stores least.
    "width": (((256, 256), None), ((8, 32), 32)),
    "least": (((128, 64), None), ((4, 16), 16)),
    "conv": (((3, 3, 16, 16), None), ((3, 3, 4, 2), 8)),
    "odd": (((100, 10), None), ((8, 4), 4)),
    # With this condition nothing fits in half of the kernel.
    "small-conditioned": (((16, 16), 16), ((8, 16), 4)),
}


@pytest.mark.parametrize(("arguments", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_tile_that_is_chosen(arguments, expected):
    shape, condition_dim = arguments
    generator = default_generator(shape, "glorot_uniform", condition_dim)
    assert (generator.tile, generator.embedding_dim) == expected
    generated = GeneratedWeight(generator, shape)
    generated.build(None if condition_dim is None else (None, condition_dim))
    stored = tiles_stored(generator.tile, generator.embedding_dim, [shape], condition_dim or 0)
    assert stored == generated.count_params()


@pytest.mark.parametrize("shape", [(16, 16), (3, 3, 2, 2), (1, 40)])
def test_a_static_kernel_too_small_for_tiles_is_its_own_embedding(shape):
    generator = default_generator(shape, "glorot_uniform")
    assert isinstance(generator, DirectGenerator)
    assert generator.initialization == "native"


@pytest.mark.parametrize("condition_dim", [None, 3])
@pytest.mark.parametrize("initializer", ["zeros", "ones", "identity"])
def test_a_kernel_that_tiles_cannot_match_is_its_own_embedding(initializer, condition_dim):
    generator = default_generator((64, 64), initializer, condition_dim)
    assert isinstance(generator, DirectGenerator)
    assert generator.initialization == "native"


@pytest.mark.parametrize("embedding_dim", [1, 3, 100])
def test_an_embedding_dim_is_kept_even_if_tiles_store_more(embedding_dim):
    for units in (64, 4):
        generator = default_generator(
            (units, units), "glorot_uniform", embedding_dim=embedding_dim, name="mine"
        )
        assert isinstance(generator, TiledKernelGenerator)
        assert (generator.embedding_dim, generator.name) == (embedding_dim, "mine")


@pytest.mark.parametrize("shape", [(64, 64), (24, 40), (100, 10)])
def test_a_default_layer_stores_at_most_half_of_its_kernel(shape):
    layer = HyperDense(shape[1], use_bias=False)
    layer.build((None, shape[0]))
    assert 2 * layer.count_params() <= math.prod(shape)
