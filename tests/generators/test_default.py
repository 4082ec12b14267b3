"""What `generator=None` stands for: which tile is chosen, and what it costs."""

import pytest

from helpers import to_numpy
from keras_hyper import GeneratedWeight, TiledKernelGenerator
from keras_hyper.generators import DirectGenerator, default_generator

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
    # With a condition nothing fits in half of the kernel.
    "small-conditioned": (((16, 16), 16), ((8, 16), 4)),
}


@pytest.mark.parametrize(("arguments", "expected"), CHOICES.values(), ids=CHOICES)
def test_the_tile_that_is_chosen(arguments, expected):
    generator = default_generator(arguments[0], "glorot_uniform", arguments[1])
    assert (generator.tile, generator.embedding_dim) == expected
