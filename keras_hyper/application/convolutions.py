"""Convolutions of all kinds with given weights."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from keras_hyper.application.finish import finish
from keras_hyper.kernels import Kernel
from keras_hyper.ops import per_sample_conv_transpose, per_sample_depthwise_conv

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def conv(layer: Any, weights: Mapping[str, Kernel], inputs: Any) -> Any:
    """Returns the outputs of a convolution."""
    options = _options(layer)
    if layer.padding == "causal":
        inputs, options["padding"] = _pad_left(layer, inputs), "valid"
    return _finish(layer, weights["kernel"].conv(inputs, **options), weights)


def depthwise_conv(layer: Any, weights: Mapping[str, Kernel], inputs: Any) -> Any:
    """Returns the outputs of a depthwise convolution."""
    return _finish(layer, _depthwise(layer, weights["kernel"], inputs), weights)


def separable_conv(layer: Any, weights: Mapping[str, Kernel], inputs: Any) -> Any:
    """Returns the outputs of a depthwise convolution and one of windows of size 1."""
    options = _options(layer)
    if layer.padding == "causal":
        inputs, options["padding"] = _pad_left(layer, inputs), "valid"
    inputs = _depthwise(layer, weights["depthwise_kernel"], inputs, padding=options["padding"])
    ones = (1,) * layer.rank
    options |= {"strides": ones, "dilation_rate": ones, "padding": "valid"}
    return _finish(layer, weights["pointwise_kernel"].conv(inputs, **options), weights)


def conv_transpose(layer: Any, weights: Mapping[str, Kernel], inputs: Any) -> Any:
    """Returns the outputs of a transposed convolution."""
    outputs = _apply(
        layer,
        weights["kernel"],
        inputs,
        ops.conv_transpose,
        per_sample_conv_transpose,
        output_padding=layer.output_padding,
    )
    return _finish(layer, outputs, weights)


def channel_axis(layer: Any) -> int:
    """Returns the axis of the channels in the inputs and outputs of a convolution."""
    return -1 if layer.data_format == "channels_last" else 1


def _options(layer: Any) -> dict[str, Any]:
    names = ("strides", "padding", "data_format", "dilation_rate")
    return {name: getattr(layer, name) for name in names}


def _pad_left(layer: Any, inputs: Any) -> Any:
    reach = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    time = 1 if layer.data_format == "channels_last" else 2
    return ops.pad(inputs, [(reach, 0) if axis == time else (0, 0) for axis in range(3)])


def _depthwise(layer: Any, kernel: Kernel, inputs: Any, **options: Any) -> Any:
    return _apply(layer, kernel, inputs, ops.depthwise_conv, per_sample_depthwise_conv, **options)


def _apply(
    layer: Any,
    kernel: Kernel,
    inputs: Any,
    shared: Callable[..., Any],
    per_sample: Callable[..., Any],
    **options: Any,
) -> Any:
    """Returns a product of inputs and kernel by one of two functions.

    Args:
        layer: The layer.
        kernel: The kernel.
        inputs: Tensor of shape `(batch, ...)`.
        shared: The function for one kernel for the batch.
        per_sample: The function for a kernel for each sample.
        **options: Keyword arguments of both, besides those that the layer has.
    """
    options = {**_options(layer), **options}

    def product(inputs: Any, weight: Any, batched: bool) -> Any:
        return (per_sample if batched else shared)(inputs, weight, **options)

    return kernel.apply(product, inputs, channel_axis(layer))


def _finish(layer: Any, outputs: Any, weights: Mapping[str, Kernel]) -> Any:
    return finish(layer, outputs, weights.get("bias"), channel_axis(layer))
