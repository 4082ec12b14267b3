"""The generator that a layer gets when its user names none."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators.direct import DirectGenerator
from keras_hyper.generators.generator import Generator
from keras_hyper.generators.tiled import TiledKernelGenerator, kernel_rank
from keras_hyper.initializers import weight_std
from keras_hyper.typing import Initializer

# Tiles from fewer numbers are nearly all alike.
_WIDTHS = (4, 8, 16, 32, 64)


def default_generator(
    weight_shape: Sequence[int],
    initializer: Initializer,
    condition_dim: int | None = None,
    embedding_dim: int | None = None,
    **kwargs: Any,
) -> Generator:
    """Returns the generator that `generator=None` stands for.

    A `TiledKernelGenerator` of the layer's own. Of all tiles with lengths that are powers of two,
    and embedding widths of 4, 8, ..., 64, those are considered that store at most half as many
    numbers as the kernel has, embeddings included; of these, those that can make kernels of the
    highest rank; of these, those with the widest embeddings; of these, the one that stores least.

    A static kernel too small to be stored in half its size is held as it is, by a
    `DirectGenerator`: a static layer never stores more than its stock twin, unless `embedding_dim`
    asks for it. So is a kernel whose initializer tiles cannot match, such as zeros or the identity.

    A condition costs a projection onto every number of the embeddings. Where nothing fits in half
    of the kernel then, the tile that stores least is taken, and that can be more than the kernel.

    Args:
        weight_shape: Shape of the kernel.
        initializer: Keras initializer that an ordinary kernel would have, or its name.
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
    initializer = keras.initializers.get(initializer)
    if not weight_std(initializer, weight_shape):
        return DirectGenerator(initialization="native", **kwargs)
    choices = [
        _Choice(weight_shape, rows, columns, width, condition_dim)
        for rows in _lengths(fan_in)
        for columns in _lengths(fan_out)
        for width in (_WIDTHS if embedding_dim is None else (embedding_dim,))
    ]
    budget = math.prod(weight_shape) // 2
    fitting = [choice for choice in choices if choice.stored <= budget]
    if fitting:
        best = min(fitting, key=lambda choice: (-choice.rank, -choice.width, choice.stored))
    elif condition_dim is None and embedding_dim is None:
        return DirectGenerator(initialization="native", **kwargs)
    else:
        best = min(choices, key=lambda choice: choice.stored)
    return TiledKernelGenerator(
        (*spatial, best.rows, best.columns), embedding_dim=best.width, **kwargs
    )


def _lengths(channels: int) -> list[int]:
    """Returns the tile lengths to try: powers of two up to the channels."""
    return sorted({*(2**k for k in range(channels.bit_length())), channels})


class _Choice:
    """A tile and an embedding width, with what they cost and what they can do."""

    def __init__(
        self,
        weight_shape: Sequence[int],
        rows: int,
        columns: int,
        width: int,
        condition_dim: int | None,
    ) -> None:
        *spatial, fan_in, fan_out = weight_shape
        self.rows, self.columns, self.width = rows, columns, width
        flat = math.prod(spatial) * columns
        down, across = math.ceil(fan_in / rows), math.ceil(fan_out / columns)
        generator = (rows * width + flat) * (width + 1)
        self.stored = generator + down * across * width * (1 + (condition_dim or 0))
        tile = (*spatial, rows, columns)
        self.rank = kernel_rank(tile, width, width, weight_shape)
