"""The axes of a layer's weight that its product sums over, and those that number its units."""

from collections.abc import Sequence

import keras

from keras_hyper.application.convolutions import DEPTHWISE, TRANSPOSED
from keras_hyper.application.dense import is_matrix, kernel_axes


def axes_of(layer: keras.Layer, name: str) -> tuple[Sequence[int] | None, Sequence[int]]:
    """Returns the summed axes and the unit axes of the weight of a layer with a given name.

    The summed axes are None if they are all axes but the last.
    """
    if isinstance(layer, keras.layers.EinsumDense) and name == "kernel":
        inputs, units = kernel_axes(layer.equation)
        return (inputs if is_matrix(layer.equation) else None), (units or (-1,))
    if isinstance(layer, TRANSPOSED) and name == "kernel":
        return None, (-2,)
    depthwise = isinstance(layer, DEPTHWISE) and name == "kernel"
    return None, (-2, -1) if depthwise or name == "depthwise_kernel" else (-1,)


def own_initializer(
    layer: keras.Layer, name: str, initializer: keras.Initializer
) -> keras.Initializer:
    """Returns the initializer that a layer makes of its argument to draw a weight.

    In newer versions of Keras, `EinsumDense` adds the axes that its equation sums over.
    """
    by_axes = hasattr(initializer, "input_axes") and initializer.input_axes is None
    if not (isinstance(layer, keras.layers.EinsumDense) and name == "kernel" and by_axes):
        return initializer
    inputs, units = kernel_axes(layer.equation)
    config = {**initializer.get_config(), "input_axes": inputs, "output_axes": units}
    return type(initializer).from_config(config)
