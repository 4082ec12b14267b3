"""Convolutions with given weights."""

from typing import Any

import keras
from keras import layers, ops

from keras_hyper.application.bias import Weights, add_bias_and_activate
from keras_hyper.kernels import product_of
from keras_hyper.ops import per_sample_conv_transpose, per_sample_depthwise_conv
from keras_hyper.typing import Tensor

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def conv(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a convolution."""
    inputs, options = _padded(layer, inputs)
    outputs = weights["kernel"].conv(inputs, **options)
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def depthwise_conv(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a depthwise convolution."""
    product = product_of(ops.depthwise_conv, per_sample_depthwise_conv, **_options(layer))
    outputs = weights["kernel"].apply(product, inputs, channel_axis(layer))
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def separable_conv(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a depthwise convolution followed by a pointwise one."""
    inputs, options = _padded(layer, inputs)
    product = product_of(ops.depthwise_conv, per_sample_depthwise_conv, **options)
    inputs = weights["depthwise_kernel"].apply(product, inputs, channel_axis(layer))
    ones = (1,) * layer.rank
    options |= {"strides": ones, "dilation_rate": ones, "padding": "valid"}
    outputs = weights["pointwise_kernel"].conv(inputs, **options)
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def conv_transpose(layer: keras.Layer, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a transposed convolution."""
    options = {**_options(layer), "output_padding": layer.output_padding}
    product = product_of(ops.conv_transpose, per_sample_conv_transpose, **options)
    outputs = weights["kernel"].apply(product, inputs, channel_axis(layer))
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
