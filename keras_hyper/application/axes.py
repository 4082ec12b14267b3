"""Which axes of a weight are summed over in the layer's product, and which number its units."""

from collections.abc import Sequence

import keras

from keras_hyper.application import convolutions
from keras_hyper.application.dense import is_matrix, kernel_axes


def axes_of(layer: keras.Layer, name: str) -> tuple[Sequence[int] | None, Sequence[int]]:
    """Returns the axes of a layer's weight, by the name of the variable.

    These are the axes that the product sums over, or None for all but the last; and the axes
    that number the units.
    """
    if isinstance(layer, keras.layers.EinsumDense) and name == "kernel":
        inputs, units = kernel_axes(layer.equation)
        return (inputs if is_matrix(layer.equation) else None), (units or (-1,))
    if isinstance(layer, convolutions.TRANSPOSED) and name == "kernel":
        return None, (-2,)
    depthwise = isinstance(layer, convolutions.DEPTHWISE) and name == "kernel"
    if depthwise or name == "depthwise_kernel":
        return None, (-2, -1)
    return None, (-1,)


def own_initializer(
    layer: keras.Layer, name: str, initializer: keras.Initializer
) -> keras.Initializer:
    """Returns the initializer with which a layer itself draws a weight, from the one it was given.

    `EinsumDense` counts the fans of its kernel by the equation, in newer versions of Keras.
    """
    by_axes = hasattr(initializer, "input_axes") and initializer.input_axes is None
    if not (isinstance(layer, keras.layers.EinsumDense) and name == "kernel" and by_axes):
        return initializer
    inputs, units = kernel_axes(layer.equation)
    config = {**initializer.get_config(), "input_axes": inputs, "output_axes": units}
    return type(initializer).from_config(config)
