"""Bias and activation, the last steps of most layers."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor

# The weights of a layer by the names of its variables.
Weights: TypeAlias = Mapping[str, Kernel]


def along(weight: Kernel, outputs: Tensor, axes: Iterable[int]) -> Tensor:
    """Returns a weight as a tensor that broadcasts to the outputs, with its axes along `axes`."""
    shape: list[Tensor] = [1] * len(outputs.shape)
    if weight.batched:
        shape[0] = ops.shape(outputs)[0]
    for axis, length in zip(axes, weight.shape, strict=True):
        shape[axis] = length
    return ops.cast(ops.reshape(weight.materialize(), shape), outputs.dtype)


def add_bias_and_activate(layer: keras.Layer, outputs: Tensor, bias: Kernel | None) -> Tensor:
    """Adds a bias along the last axes of the outputs, or the channels, and activates them."""
    if bias is not None:
        first = getattr(layer, "data_format", None) == "channels_first"
        outputs = outputs + along(bias, outputs, [1] if first else range(-len(bias.shape), 0))
    activation = getattr(layer, "activation", None)
    return outputs if activation is None else activation(outputs)
