"""What ends most layers: bias and activation."""

from collections.abc import Iterable

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor


def along(weight: Kernel, outputs: Tensor, axes: Iterable[int]) -> Tensor:
    """Returns a weight with the axes of the outputs: ones where the weight has none.

    Args:
        weight: A weight for the batch or for each sample.
        outputs: Tensor of shape `(batch, ...)`.
        axes: The axes of the outputs that belong to those of the weight, in their order.
    """
    shape: list[Tensor] = [1] * len(outputs.shape)
    if weight.batched:
        shape[0] = ops.shape(outputs)[0]
    for axis, length in zip(axes, weight.shape, strict=True):
        shape[axis] = length
    return ops.cast(ops.reshape(weight.materialize(), shape), outputs.dtype)


def add_bias_and_activate(
    layer: keras.Layer, outputs: Tensor, bias: Kernel | None, axes: Iterable[int] | None = None
) -> Tensor:
    """Returns the outputs of a layer with its bias added and its activation applied.

    The bias belongs to some axes of the outputs, by default the last ones.
    """
    if bias is not None:
        outputs = outputs + along(bias, outputs, axes or range(-len(bias.shape), 0))
    activation = getattr(layer, "activation", None)
    return outputs if activation is None else activation(outputs)
