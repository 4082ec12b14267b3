"""Convolutions of all kinds with given weights."""

from collections.abc import Callable, Mapping, Sequence

import keras
from keras import ops

from keras_hyper.application.bias import add_bias_and_activate
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


def conv(layer: keras.Layer, weights: Mapping[str, Kernel], inputs: Tensor) -> Tensor:
    """Returns the outputs of a convolution."""
    inputs, options = _padded(layer, inputs)
    return _finish(layer, weights["kernel"].conv(inputs, **options), weights)


def depthwise_conv(layer: keras.Layer, weights: Mapping[str, Kernel], inputs: Tensor) -> Tensor:
    """Returns the outputs of a depthwise convolution."""
    outputs = _depthwise(layer, weights["kernel"], inputs, _options(layer))
    return _finish(layer, outputs, weights)


def separable_conv(layer: keras.Layer, weights: Mapping[str, Kernel], inputs: Tensor) -> Tensor:
    """Returns the outputs of a depthwise convolution and one of windows of size 1."""
    inputs, options = _padded(layer, inputs)
    inputs = _depthwise(layer, weights["depthwise_kernel"], inputs, options)
    ones = (1,) * layer.rank
    options |= {"strides": ones, "dilation_rate": ones, "padding": "valid"}
    return _finish(layer, weights["pointwise_kernel"].conv(inputs, **options), weights)


def conv_transpose(layer: keras.Layer, weights: Mapping[str, Kernel], inputs: Tensor) -> Tensor:
    """Returns the outputs of a transposed convolution."""
    functions = (ops.conv_transpose, per_sample_conv_transpose)
    options = {**_options(layer), "output_padding": layer.output_padding}
    return _finish(layer, _apply(layer, weights["kernel"], inputs, functions, options), weights)


def channel_axis(layer: keras.Layer) -> int:
    """Returns the axis of the channels in the inputs and outputs of a convolution."""
    return -1 if layer.data_format == "channels_last" else 1


def _options(layer: keras.Layer) -> dict[str, Tensor]:
    names = ("strides", "padding", "data_format", "dilation_rate")
    return {name: getattr(layer, name) for name in names}


def _padded(layer: keras.Layer, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns inputs and options of a product, which has no causal padding."""
    options = _options(layer)
    if layer.padding != "causal":
        return inputs, options
    reach = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    time = 1 if layer.data_format == "channels_last" else 2
    widths = [(reach, 0) if axis == time else (0, 0) for axis in range(3)]
    return ops.pad(inputs, widths), {**options, "padding": "valid"}


def _depthwise(
    layer: keras.Layer, kernel: Kernel, inputs: Tensor, options: dict[str, Tensor]
) -> Tensor:
    functions = (ops.depthwise_conv, per_sample_depthwise_conv)
    return _apply(layer, kernel, inputs, functions, options)


def _apply(
    layer: keras.Layer,
    kernel: Kernel,
    inputs: Tensor,
    functions: Sequence[Callable[..., Tensor]],
    options: dict[str, Tensor],
) -> Tensor:
    """Returns a product by one of two functions: for one kernel, and for per-sample kernels."""

    def product(inputs: Tensor, weight: Tensor, batched: bool) -> Tensor:
        return functions[batched](inputs, weight, **options)

    return kernel.apply(product, inputs, channel_axis(layer))


def _finish(layer: keras.Layer, outputs: Tensor, weights: Mapping[str, Kernel]) -> Tensor:
    return add_bias_and_activate(layer, outputs, weights.get("bias"), [channel_axis(layer)])
