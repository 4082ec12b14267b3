"""Convolutions with per-sample kernels, as batched matrix products.

With XLA on a CPU, a grouped convolution is about a thousand times slower, and a vectorized map has
no gradient.
"""

import functools
import itertools
import math
import operator
from collections.abc import Sequence

from keras import ops

from keras_hyper.typing import Shape, Tensor


def per_sample_conv(
    inputs: Tensor,
    kernels: Tensor,
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Computes a convolution with per-sample kernels.

    The windows of the inputs are shifted slices. One batched matrix product multiplies them with
    the kernels. If it moves less memory, only the windows along the last spatial axis are sliced.
    The taps along the other axes are then partial results, which are shifted and added.

    Args:
        inputs: Tensor of shape `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`.
        kernels: Tensor of shape `(batch, *kernel_size, channels // groups, filters)`.
        strides: One integer per spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: One integer per spatial axis.

    Returns:
        Tensor of shape `(batch, *new_spatial, filters)` in the given data format.

    Examples:
        >>> from keras import ops
        >>> from keras_hyper.ops import per_sample_conv
        >>> images, kernels = ops.ones((2, 8, 8, 3)), ops.ones((2, 3, 3, 3, 5))
        >>> options = {"data_format": "channels_last", "dilation_rate": (1, 1)}
        >>> outputs = per_sample_conv(images, kernels, (1, 1), "valid", **options)
        >>> tuple(outputs.shape)
        (2, 6, 6, 5)
    """
    size, (width, filters) = kernels.shape[1:-2], kernels.shape[-2:]
    inputs = _prepare(inputs, size, strides, padding, data_format, dilation_rate)
    groups = inputs.shape[-1] // width
    if groups == 1 and max(strides) == 1 and _split_moves_less(inputs.shape, kernels.shape):
        return channels_to(_split_conv(inputs, kernels, dilation_rate), data_format)

    windows = _windows(inputs, size, strides, dilation_rate)
    batch, *spatial = ops.shape(windows[0])[:-1]
    taps, positions = len(windows), math.prod(spatial)
    if groups == 1:
        patches = ops.concatenate(windows, axis=-1)
        rows = ops.reshape(patches, (batch, positions, taps * width))
        outputs = rows @ ops.reshape(kernels, (batch, taps * width, filters))
    else:
        patches = ops.stack(windows, axis=-2)
        rows = ops.reshape(patches, (batch, positions, taps, groups, width))
        kernels = ops.reshape(kernels, (batch, taps, width, groups, filters // groups))
        outputs = ops.einsum("bptgi,btigo->bpgo", rows, kernels)
    outputs = ops.reshape(outputs, (batch, *spatial, filters))
    return channels_to(outputs, data_format)


def _split_moves_less(inputs_shape: Shape, kernels_shape: Sequence[int]) -> bool:
    """Returns whether a split convolution writes less memory than one with patches."""
    *size, channels, filters = kernels_shape[1:]
    positions = inputs_shape[1:-1]
    if None in positions:
        return False
    taps, across = math.prod(size), size[-1]
    count = math.prod(p or 0 for p in positions)
    # The kernels and their gradients are transposed.
    split = count * (across * channels + taps // across * filters) + 2 * taps * channels * filters
    return split < count * taps * channels


def _split_conv(inputs: Tensor, kernels: Tensor, dilation_rate: Sequence[int]) -> Tensor:
    """Computes a convolution with windows along the last axis and shifted sums along the others."""
    *rest, across, channels, filters = kernels.shape[1:]
    rank = len(rest) + 1
    windows = _windows(inputs, (*(1 for _ in rest), across), (1,) * rank, dilation_rate)
    batch, *lengths = ops.shape(windows[0])[:-1]
    rows = ops.concatenate(windows, axis=-1)
    rows = ops.reshape(rows, (batch, math.prod(lengths), across * channels))
    # (batch, *rest, across, channels, filters) -> (batch, across, channels, *rest, filters)
    matrix = ops.transpose(kernels, (0, rank, rank + 1, *range(1, rank), rank + 2))
    units = math.prod(rest) * filters
    matrix = ops.reshape(matrix, (batch, across * channels, units))
    every = ops.reshape(rows @ matrix, (batch, *lengths, units))
    spans = [
        length - (k - 1) * rate
        for length, k, rate in zip(lengths, rest, dilation_rate, strict=False)
    ]
    parts = []
    for index, taps in enumerate(itertools.product(*(range(k) for k in rest))):
        starts = [tap * rate for tap, rate in zip(taps, dilation_rate, strict=False)]
        corner = (0, *starts, 0, index * filters)
        parts.append(ops.slice(every, corner, (batch, *spans, lengths[-1], filters)))
    return functools.reduce(operator.add, parts)


def per_sample_depthwise_conv(
    inputs: Tensor,
    kernels: Tensor,
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Computes a depthwise convolution with per-sample kernels.

    There is no sum over channels, and thus no matrix product: shifted inputs are multiplied and
    added.

    Args:
        inputs: Tensor of shape `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`.
        kernels: Tensor of shape `(batch, *kernel_size, channels, multiplier)`.
        strides: One integer per spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: One integer per spatial axis.

    Returns:
        Tensor of shape `(batch, *new_spatial, channels * multiplier)` in the given data format.

    Examples:
        >>> from keras import ops
        >>> from keras_hyper.ops import per_sample_depthwise_conv
        >>> images, kernels = ops.ones((2, 8, 8, 3)), ops.ones((2, 3, 3, 3, 2))
        >>> options = {"data_format": "channels_last", "dilation_rate": (1, 1)}
        >>> outputs = per_sample_depthwise_conv(images, kernels, (1, 1), "valid", **options)
        >>> tuple(outputs.shape)
        (2, 6, 6, 6)
    """
    size, (channels, multiplier) = kernels.shape[1:-2], kernels.shape[-2:]
    inputs = _prepare(inputs, size, strides, padding, data_format, dilation_rate)
    windows = _windows(inputs, size, strides, dilation_rate)
    batch, *spatial = ops.shape(windows[0])[:-1]
    ones = (1,) * len(spatial)
    kernels = ops.reshape(kernels, (batch, len(windows), channels, multiplier))
    products = [
        ops.expand_dims(window, -1)
        * ops.reshape(kernels[:, tap], (batch, *ones, channels, multiplier))
        for tap, window in enumerate(windows)
    ]
    outputs = functools.reduce(operator.add, products)
    outputs = ops.reshape(outputs, (batch, *spatial, channels * multiplier))
    return channels_to(outputs, data_format)


def conv_groups(inputs: Tensor, kernel_shape: Sequence[int], data_format: str) -> int:
    """Returns the number of groups of a convolution.

    `kernel_shape` is `(*kernel_size, channels // groups, filters)`.
    """
    channels: int = inputs.shape[-1 if data_format == "channels_last" else 1]
    return channels // kernel_shape[-2]


def channels_to(outputs: Tensor, data_format: str) -> Tensor:
    """Moves the last axis to the channel axis of a data format."""
    return outputs if data_format == "channels_last" else ops.moveaxis(outputs, -1, 1)


def channels_last(inputs: Tensor, data_format: str) -> Tensor:
    """Moves the channel axis of a data format to the end."""
    return inputs if data_format == "channels_last" else ops.moveaxis(inputs, 1, -1)


def _prepare(
    inputs: Tensor,
    size: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Returns padded inputs with the channels last."""
    inputs = channels_last(inputs, data_format)
    if padding != "same":
        return inputs
    lengths = ops.shape(inputs)[1:-1]
    widths: list[tuple[Tensor, Tensor]] = [(0, 0)]
    for length, k, stride, rate in zip(lengths, size, strides, dilation_rate, strict=True):
        reach = (k - 1) * rate + 1
        if stride == 1:
            total = reach - 1
        else:
            last = (length + stride - 1) // stride * stride - stride
            excess = last + reach - length
            total = max(excess, 0) if isinstance(excess, int) else ops.maximum(excess, 0)
        widths.append((total // 2, total - total // 2))
    return ops.pad(inputs, [*widths, (0, 0)])


def _windows(
    inputs: Tensor, size: Sequence[int], strides: Sequence[int], dilation_rate: Sequence[int]
) -> list[Tensor]:
    """Returns the windows of padded inputs with the channels last, one tensor per tap."""
    batch, *lengths, channels = ops.shape(inputs)
    spans = [
        length - (k - 1) * rate
        for length, k, rate in zip(lengths, size, dilation_rate, strict=True)
    ]
    steps = (slice(None), *(slice(None, None, stride) for stride in strides))
    windows = []
    for taps in itertools.product(*(range(k) for k in size)):
        starts = [tap * rate for tap, rate in zip(taps, dilation_rate, strict=True)]
        # On TensorFlow, the gradient of `ops.slice` is a pad, which is much faster than the
        # gradient of a strided slice (benchmarks/patches.py).
        window = ops.slice(inputs, (0, *starts, 0), (batch, *spans, channels))
        windows.append(window if max(strides) == 1 else window[steps])
    return windows
