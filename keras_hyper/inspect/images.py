"""Generated weights as pictures, which are arrays of numbers."""

import math

import numpy as np

_GAP = 1  # Pixels between tiles.


def kernel_tiles(weight: np.ndarray, most: int = 64) -> np.ndarray:
    """Returns a weight as one picture of shape `(height, width)`.

    A matrix is a picture of itself. A kernel of a convolution has a tile for each pair of an
    input and an output channel, a row of tiles for each input, and NaN between tiles. There are
    at most `most` tiles, and pixels along an axis of a matrix.
    """
    if weight.ndim < 3:
        return np.atleast_2d(weight)[:most, :most]
    if weight.ndim == 3:
        weight = weight[:, None]  # With one axis for space, a column.
    height, width, inputs, outputs = weight.shape[-4:]
    tiles = weight.reshape(-1, height, width, inputs, outputs)[0]  # With three, a slice.
    columns = min(outputs, most if inputs == 1 else math.isqrt(most))
    rows = min(inputs, most // columns)
    tiles = tiles[:, :, :rows, :columns].transpose(2, 0, 3, 1)
    gaps = ((0, 0), (0, _GAP), (0, 0), (0, _GAP))
    tiles = np.pad(tiles, gaps, constant_values=np.nan)
    return tiles.reshape(rows * (height + _GAP), -1)[:-_GAP, :-_GAP]


def kernel_image(weight: np.ndarray, most: int = 64) -> np.ndarray:
    """Returns `kernel_tiles` in grey: 0.5 is a weight of zero, 0 and 1 the largest, gaps are 1."""
    tiles = kernel_tiles(weight.astype("float32"), most)
    finite = tiles[np.isfinite(tiles)]
    largest = np.abs(finite).max(initial=0.0) or 1.0
    return np.where(np.isnan(tiles), 1.0, np.clip(0.5 + 0.5 * tiles / largest, 0.0, 1.0))
