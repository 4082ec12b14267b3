"""Products in which every sample has its own kernel: dense, convolution, lookup.

Pure functions on tensors whose batch size may be unknown. All are batched
matrix products: a grouped convolution, the usual trick, compiles to code about
a thousand times slower under XLA on CPU, and a vectorised map has no gradient
there. They are written with `@`, because `keras.ops.matmul` rounds float64 to
float32 on PyTorch.
"""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

from keras import ops


def per_sample_dense(inputs: Any, kernels: Any) -> Any:
    """Returns `outputs[b] = inputs[b] @ kernels[b]`.

    Args:
        inputs: Tensor of shape `(batch, ..., in)`, of rank 2 or more.
        kernels: Tensor of shape `(batch, in, out)`.

    Returns:
        Tensor of shape `(batch, ..., out)`.
    """
    batch, *positions = ops.shape(inputs)[:-1]
    fan_in, fan_out = kernels.shape[1:]
    # A product would broadcast a batch of one; the reshape refuses it, except in
    # a TensorFlow graph of unknown batch, whose optimizer may drop the reshape.
    kernels = ops.reshape(kernels, (batch, fan_in, fan_out))
    rows = ops.reshape(inputs, (batch, _product(positions), fan_in))
    return ops.reshape(rows @ kernels, (batch, *positions, fan_out))


def per_sample_conv(
    inputs: Any,
    kernels: Any,
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Any:
    """Convolves every sample with its own kernel.

    The windows of the input are cut out as shifted slices and meet the kernels
    in one batched matrix product.

    Args:
        inputs: Tensor of shape `(batch, *spatial, channels)`, or
            `(batch, channels, *spatial)` with `data_format="channels_first"`.
        kernels: Tensor of shape `(batch, *kernel_size, channels // groups,
            filters)`; the number of groups follows from the channels.
        strides: One integer for each spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: One integer for each spatial axis.

    Returns:
        Tensor of shape `(batch, *new_spatial, filters)`, with the channels
        second for `"channels_first"`.
    """
    windows = windows_of(inputs, kernels.shape[1:-2], strides, padding, data_format, dilation_rate)
    group_width, filters = kernels.shape[-2:]
    groups = windows[0].shape[-1] // group_width
    batch, *spatial = ops.shape(windows[0])[:-1]
    taps, positions = len(windows), _product(spatial)
    if groups == 1:
        patches = ops.concatenate(windows, axis=-1)
        rows = ops.reshape(patches, (batch, positions, taps * group_width))
        kernels = ops.reshape(kernels, (batch, taps * group_width, filters))
        outputs = rows @ kernels
    else:
        patches = ops.stack(windows, axis=-2)
        rows = ops.reshape(patches, (batch, positions, taps, groups, group_width))
        kernels = ops.reshape(kernels, (batch, taps, group_width, groups, filters // groups))
        outputs = ops.einsum("bptgi,btigo->bpgo", rows, kernels)
    outputs = ops.reshape(outputs, (batch, *spatial, filters))
    return channels_to(outputs, data_format)


def per_sample_depthwise_conv(
    inputs: Any,
    kernels: Any,
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Any:
    """Convolves every channel of every sample with filters of its own.

    A depthwise convolution has no sum over channels, so that a matrix product
    would gain nothing: the shifted inputs are multiplied and added up.

    Args:
        inputs: Tensor of shape `(batch, *spatial, channels)`, or
            `(batch, channels, *spatial)` with `data_format="channels_first"`.
        kernels: Tensor of shape `(batch, *kernel_size, channels, multiplier)`.
        strides: One integer for each spatial axis.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: One integer for each spatial axis.

    Returns:
        Tensor of shape `(batch, *new_spatial, channels * multiplier)`, with the
        channels second for `"channels_first"`.
    """
    windows = windows_of(inputs, kernels.shape[1:-2], strides, padding, data_format, dilation_rate)
    channels, multiplier = kernels.shape[-2:]
    batch, *spatial = ops.shape(windows[0])[:-1]
    ones = (1,) * len(spatial)
    kernels = ops.reshape(kernels, (batch, len(windows), channels, multiplier))
    products = [
        ops.expand_dims(window, -1) * ops.reshape(kernels[:, tap], (batch, *ones, channels, -1))
        for tap, window in enumerate(windows)
    ]
    outputs = functools.reduce(operator.add, products)
    outputs = ops.reshape(outputs, (batch, *spatial, channels * multiplier))
    return channels_to(outputs, data_format)


def per_sample_take(tables: Any, ids: Any) -> Any:
    """Looks up rows in a table of each sample's own.

    Args:
        tables: Tensor of shape `(batch, rows, dim)`.
        ids: Integer tensor of shape `(batch, ...)`.

    Returns:
        Tensor of shape `(batch, ..., dim)`.
    """
    batch, *positions = ops.shape(ids)
    rows, dim = tables.shape[1:]
    # One table with the tables of all samples, as `ops.take` has no batch axes.
    first = ops.reshape(ops.arange(batch, dtype=ids.dtype) * rows, (batch, *(1,) * len(positions)))
    flat = ops.reshape(tables, (batch * rows, dim))
    return ops.take(flat, ids + first, axis=0)


def channels_to(outputs: Any, data_format: str) -> Any:
    """Returns a tensor with the channels last in the given format."""
    if data_format == "channels_last":
        return outputs
    rank = len(outputs.shape)
    return ops.transpose(outputs, (0, rank - 1, *range(1, rank - 1)))


def channels_last(inputs: Any, data_format: str) -> Any:
    """Returns a tensor in the given format with the channels last."""
    if data_format == "channels_last":
        return inputs
    return ops.transpose(inputs, (0, *range(2, len(inputs.shape)), 1))


def windows_of(
    inputs: Any,
    size: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str,
    dilation_rate: Sequence[int],
) -> list[Any]:
    """Returns, for each tap of a kernel, the inputs that it meets, channels last."""
    inputs = channels_last(inputs, data_format)
    if padding == "same":
        inputs = _pad_same(inputs, size, strides, dilation_rate)
    return _windows(inputs, size, strides, dilation_rate)


def _product(lengths: Sequence[Any]) -> Any:
    """Returns the product of axis lengths, each an integer or a scalar tensor."""
    return functools.reduce(operator.mul, lengths, 1)


def _pad_same(
    inputs: Any, size: Sequence[int], strides: Sequence[int], dilation_rate: Sequence[int]
) -> Any:
    """Pads the spatial axes with zeros as a convolution with "same" padding does."""
    lengths = ops.shape(inputs)[1:-1]
    widths: list[tuple[Any, Any]] = [(0, 0)]
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
    inputs: Any, size: Sequence[int], strides: Sequence[int], dilation_rate: Sequence[int]
) -> list[Any]:
    """Cuts the windows out of inputs that are padded and have the channels last."""
    batch, *lengths, channels = ops.shape(inputs)
    spans = [
        length - (k - 1) * rate
        for length, k, rate in zip(lengths, size, dilation_rate, strict=True)
    ]
    steps = (slice(None), *(slice(None, None, stride) for stride in strides))
    windows = []
    for taps in itertools.product(*(range(k) for k in size)):
        starts = [tap * rate for tap, rate in zip(taps, dilation_rate, strict=True)]
        # `ops.slice` and not Python slicing: on TensorFlow its gradient is a
        # pad, much faster than that of a strided slice (benchmarks/patches.py).
        window = ops.slice(inputs, (0, *starts, 0), (batch, *spans, channels))
        windows.append(window if max(strides) == 1 else window[steps])
    return windows
