"""The default generator of a layer."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators.direct import DirectGenerator
from keras_hyper.generators.generator import Generator
from keras_hyper.generators.tiled import (
    TiledKernelGenerator,
    kernel_rank,
    tile_sides,
    tiles_stored,
)
from keras_hyper.initializers import weight_std
from keras_hyper.typing import Initializer

# With narrower embeddings, all tiles are nearly alike.
_WIDTHS = (4, 8, 16, 32, 64)


def default_generator(
    weight_shape: Sequence[int],
    initializer: Initializer,
    condition_dim: int | None = None,
    embedding_dim: int | None = None,
    **kwargs: Any,
) -> Generator:
    """Returns the generator of a layer with `generator=None`.

    It is a `TiledKernelGenerator` that stores at most half as many parameters as the kernel has,
    embeddings included. The candidates have tiles whose sides are powers of two or the full side,
    and embeddings of width 4, 8, ..., 64. The best candidate has the highest rank of its kernels,
    then the widest embeddings, then the fewest parameters.

    Kernels whose initializer tiles cannot match, such as zeros, get a `DirectGenerator`. So do
    static kernels without a candidate, unless `embedding_dim` is given: a static layer then stores
    no more parameters than its stock layer.

    A condition needs a projection onto all embeddings. If no candidate remains, the result is the
    tile with the fewest parameters, which may be more than the kernel has.

    Args:
        weight_shape: Shape of the kernel.
        initializer: Keras initializer of an ordinary kernel, or its name.
        condition_dim: Width of the condition, None for a static layer.
        embedding_dim: Width of the embeddings, None to choose it.
        **kwargs: Arguments of `keras.layers.Layer` for the generator.

    Returns:
        The generator, not built yet.

    Examples:
        >>> from keras_hyper.generators import default_generator
        >>> generator = default_generator((256, 256), "glorot_uniform")
        >>> type(generator).__name__, generator.tile, generator.embedding_dim
        ('TiledKernelGenerator', (8, 32), 32)
    """
    *spatial, fan_in, fan_out = weight_shape
    if not weight_std(keras.initializers.get(initializer), weight_shape):
        return DirectGenerator(initialization="native", **kwargs)
    widths = _WIDTHS if embedding_dim is None else (embedding_dim,)
    sizes = itertools.product(tile_sides(fan_in), tile_sides(fan_out), widths)
    choices = [((*spatial, rows, columns), width) for rows, columns, width in sizes]
    stored = {
        choice: tiles_stored(*choice, [weight_shape], condition_dim or 0) for choice in choices
    }

    def cost(choice: tuple[tuple[int, ...], int]) -> tuple[int, int, int]:
        tile, width = choice
        return -kernel_rank(tile, width, width, weight_shape), -width, stored[choice]

    fitting = [choice for choice in choices if stored[choice] <= math.prod(weight_shape) // 2]
    if not fitting and condition_dim is None and embedding_dim is None:
        return DirectGenerator(initialization="native", **kwargs)
    tile, width = min(fitting, key=cost) if fitting else min(choices, key=lambda c: stored[c])
    return TiledKernelGenerator(tile, embedding_dim=width, **kwargs)
