"""Which axes of a weight are summed over in the layer's product, and which number its units."""

from collections.abc import Sequence

import keras

from keras_hyper.application import convolutions
from keras_hyper.application.dense import contraction


def axes_of(layer: keras.layers.Layer, name: str) -> tuple[Sequence[int] | None, Sequence[int]]:
    """Returns the axes of a layer's weight.

    Args:
        layer: The layer.
        name: Name of the variable.

    Returns:
        The axes that the product sums over, or None for all but the last; and the axes that
        number the units.
    """
    if isinstance(layer, keras.layers.EinsumDense) and name == "kernel":
        return contraction(layer.equation) or (None, (-1,))
    if isinstance(layer, convolutions.TRANSPOSED) and name == "kernel":
        return None, (-2,)
    depthwise = isinstance(layer, convolutions.DEPTHWISE) and name == "kernel"
    if depthwise or name == "depthwise_kernel":
        return None, (-2, -1)
    return None, (-1,)
