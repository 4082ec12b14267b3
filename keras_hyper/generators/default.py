"""The generator that a layer gets when its user names none."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from keras_hyper.generators.direct import DirectGenerator
from keras_hyper.generators.generator import Generator
from keras_hyper.generators.tiled import TiledKernelGenerator

_WIDTHS = (64, 32, 16, 8, 4, 2, 1)  # Of which 1 cannot carry a condition.


def default_generator(
    weight_shape: Sequence[int],
    condition_dim: int | None = None,
    embedding_dim: int | None = None,
    **kwargs: Any,
) -> Generator:
    """Returns the generator that `generator=None` stands for.

    A `TiledKernelGenerator` of the layer's own, with the largest embedding
    width (64, 32, ..., 1) for which some tile, embeddings included, stores at
    most half as many numbers as the kernel has, and the cheapest such tile. A
    kernel too small for that is held as it is by a `DirectGenerator`: a static
    layer never stores more than its stock twin.

    A condition costs a projection onto every embedding number. Where even an
    embedding of width 2 exceeds half of the kernel, the tile that stores least
    is taken.

    Args:
        weight_shape: Shape of the kernel.
        condition_dim: Width of the condition, None for a static layer.
        embedding_dim: Width of the embedding, None to choose it.
        **kwargs: Arguments of `keras.layers.Layer` for the generator.

    Returns:
        The generator, not built yet.
    """
    *spatial, fan_in, fan_out = weight_shape
    budget = math.prod(weight_shape) / 2
    best: tuple[float, Any] = (math.inf, None)
    widths = _WIDTHS if condition_dim is None else _WIDTHS[:-1]
    for width in widths if embedding_dim is None else (embedding_dim,):
        cheapest = min(
            (_stored(weight_shape, tile, width, condition_dim), tile)
            for tile in itertools.product(_lengths(fan_in), _lengths(fan_out))
        )
        best = min(best, (cheapest[0], (cheapest[1], width)))
        if cheapest[0] <= budget:
            break
    stored, (tile, width) = best
    if stored > budget and condition_dim is None and embedding_dim is None:
        return DirectGenerator(**kwargs)
    return TiledKernelGenerator((*spatial, *tile), embedding_dim=width, **kwargs)


def _lengths(channels: int) -> list[int]:
    """Returns the tile lengths to try: powers of two up to the channels."""
    powers = [2**k for k in range(channels.bit_length())]
    return sorted({*powers, channels})


def _stored(
    weight_shape: Sequence[int], tile: tuple[int, int], width: int, condition_dim: int | None
) -> int:
    """Returns how many numbers a tiled generator and its slot store."""
    *spatial, fan_in, fan_out = weight_shape
    rows, columns = tile
    tiles = math.ceil(fan_in / rows) * math.ceil(fan_out / columns)
    generator = (rows * width + math.prod(spatial) * columns) * (width + 1)
    return generator + tiles * width * (1 + (condition_dim or 0))
