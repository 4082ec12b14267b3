"""Images of generated weights, as NumPy arrays."""

import math

import numpy as np

_GAP = 1  # Pixels between tiles.


def kernel_tiles(weight: np.ndarray, most: int = 64) -> np.ndarray:
    """Returns a weight as an image of shape `(height, width)`.

    A matrix is unchanged. A convolution kernel has a row of tiles for each input channel, with a
    tile for each output channel, and NaN between tiles. `most` limits the number of tiles, and
    the pixels along each axis of a matrix.
    """
    if weight.ndim < 3:
        return np.atleast_2d(weight)[:most, :most]
    if weight.ndim == 3:
        weight = weight[:, None]  # A 1D kernel becomes a column.
    height, width, inputs, outputs = weight.shape[-4:]
    tiles = weight.reshape(-1, height, width, inputs, outputs)[0]  # First slice of a 3D kernel.
    columns = min(outputs, most if inputs == 1 else math.isqrt(most))
    rows = min(inputs, most // columns)
    tiles = tiles[:, :, :rows, :columns].transpose(2, 0, 3, 1)
    gaps = ((0, 0), (0, _GAP), (0, 0), (0, _GAP))
    tiles = np.pad(tiles, gaps, constant_values=np.nan)
    return tiles.reshape(rows * (height + _GAP), -1)[:-_GAP, :-_GAP]


def kernel_image(weight: np.ndarray, most: int = 64) -> np.ndarray:
    """Returns `kernel_tiles` in gray: 0.5 for zero, 0 and 1 for the largest weights, 1 for gaps."""
    tiles = kernel_tiles(weight.astype("float32"), most)
    finite = tiles[np.isfinite(tiles)]
    largest = np.abs(finite).max(initial=0.0) or 1.0
    return np.where(np.isnan(tiles), 1.0, np.clip(0.5 + 0.5 * tiles / largest, 0.0, 1.0))
