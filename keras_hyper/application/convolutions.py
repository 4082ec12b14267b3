"""Convolutions with given weights."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_hyper.application.bias import Weights, add_bias_and_activate
from keras_hyper.kernels import Kernel
from keras_hyper.ops import per_sample_conv_transpose, per_sample_depthwise_conv
from keras_hyper.typing import Tensor

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
# A product with one kernel, and the same product with per-sample kernels.
_DEPTHWISE_CONV = (ops.depthwise_conv, per_sample_depthwise_conv)
_CONV_TRANSPOSE = (ops.conv_transpose, per_sample_conv_transpose)


def conv(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a convolution."""
    inputs, options = _padded(layer, inputs)
    outputs = weights["kernel"].conv(inputs, **options)
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def depthwise_conv(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a depthwise convolution."""
    outputs = _apply(layer, weights["kernel"], inputs, _DEPTHWISE_CONV, _options(layer))
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def separable_conv(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a depthwise convolution followed by a pointwise one."""
    inputs, options = _padded(layer, inputs)
    inputs = _apply(layer, weights["depthwise_kernel"], inputs, _DEPTHWISE_CONV, options)
    ones = (1,) * layer.rank
    options |= {"strides": ones, "dilation_rate": ones, "padding": "valid"}
    outputs = weights["pointwise_kernel"].conv(inputs, **options)
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def conv_transpose(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a transposed convolution."""
    options = {**_options(layer), "output_padding": layer.output_padding}
    outputs = _apply(layer, weights["kernel"], inputs, _CONV_TRANSPOSE, options)
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def channel_axis(layer: keras.Layer) -> int:
    """Returns the channel axis of the inputs and outputs of a convolution."""
    return -1 if layer.data_format == "channels_last" else 1


def _options(layer: keras.Layer) -> dict[str, Any]:
    names = ("strides", "padding", "data_format", "dilation_rate")
    return {name: getattr(layer, name) for name in names}


def _padded(layer: keras.Layer, inputs: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Returns inputs and options of a convolution, with causal padding applied to the inputs."""
    options = _options(layer)
    if layer.padding != "causal":
        return inputs, options
    reach = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    time = 1 if layer.data_format == "channels_last" else 2
    widths = [(reach, 0) if axis == time else (0, 0) for axis in range(3)]
    return ops.pad(inputs, widths), {**options, "padding": "valid"}


def _apply(
    layer: keras.Layer,
    kernel: Kernel,
    inputs: Tensor,
    functions: tuple[Callable[..., Tensor], Callable[..., Tensor]],
    options: dict[str, Any],
) -> Tensor:
    def product(inputs: Tensor, weight: Tensor, batched: bool) -> Tensor:
        return functions[batched](inputs, weight, **options)

    return kernel.apply(product, inputs, channel_axis(layer))
