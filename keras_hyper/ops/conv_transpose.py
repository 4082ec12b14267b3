"""Transposed convolution with per-sample kernels."""

import itertools
import math
from collections.abc import Sequence

from keras import ops

from keras_hyper.ops.conv import channels_last, channels_to
from keras_hyper.typing import Tensor


def per_sample_conv_transpose(
    inputs: Tensor,
    kernels: Tensor,
    strides: Sequence[int],
    padding: str,
    output_padding: Sequence[int] | None,
    data_format: str,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Computes a transposed convolution with per-sample kernels.

    `full[s i + d u] = sum over i, u of x[i] K[u]` for each spatial axis, with stride `s` and
    dilation `d`. The output is `full`, cropped to the size that Keras returns. One batched matrix
    product computes all `x[i] K[u]`. Products with equal `d u` modulo `s` add up to one phase of
    the output, and the phases are interleaved. No product has a factor of zero.

    Args:
        inputs: Tensor of shape `(batch, *spatial, channels)`, or `(batch, channels, *spatial)` with
            `data_format="channels_first"`.
        kernels: Tensor of shape `(batch, *kernel_size, filters, channels)`.
        strides: One integer per spatial axis.
        padding: `"valid"` or `"same"`.
        output_padding: None, or one integer per spatial axis.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: One integer per spatial axis.

    Returns:
        Tensor of shape `(batch, *new_spatial, filters)` in the given data format.

    Examples:
        >>> from keras import ops
        >>> from keras_hyper.ops import per_sample_conv_transpose
        >>> images, kernels = ops.ones((2, 4, 4, 3)), ops.ones((2, 3, 3, 5, 3))
        >>> rest = {"data_format": "channels_last", "dilation_rate": (1, 1)}
        >>> outputs = per_sample_conv_transpose(images, kernels, (2, 2), "same", None, **rest)
        >>> tuple(outputs.shape)
        (2, 8, 8, 5)
    """
    inputs = channels_last(inputs, data_format)
    size, (filters, channels) = kernels.shape[1:-2], kernels.shape[-2:]
    batch, *spatial = ops.shape(inputs)[:-1]
    taps = list(itertools.product(*(range(k) for k in size)))

    matrix = ops.reshape(kernels, (batch, len(taps) * filters, channels))
    rows = ops.reshape(inputs, (batch, math.prod(spatial), channels))
    products = rows @ ops.transpose(matrix, (0, 2, 1))
    products = ops.reshape(products, (batch, *spatial, len(taps), filters))

    # How far a phase extends beyond the inputs, in steps of the stride.
    reach = [(k - 1) * d // s + 1 for k, d, s in zip(size, dilation_rate, strides, strict=True)]
    phases: dict[tuple[int, ...], Tensor] = {}
    for index, tap in enumerate(taps):
        steps = [divmod(u * d, s) for u, d, s in zip(tap, dilation_rate, strides, strict=True)]
        phase = tuple(remainder for _, remainder in steps)
        widths = [(step, r - step) for (step, _), r in zip(steps, reach, strict=True)]
        part = ops.pad(products[..., index, :], [(0, 0), *widths, (0, 0)])
        phases[phase] = part if phase not in phases else phases[phase] + part
    zeros = ops.zeros_like(next(iter(phases.values())))
    every = [phases.get(p, zeros) for p in itertools.product(*(range(s) for s in strides))]

    rank = len(size)
    lengths = [length + r for length, r in zip(spatial, reach, strict=True)]
    outputs = ops.reshape(ops.stack(every, axis=1), (batch, *strides, *lengths, filters))
    order = [axis for i in range(rank) for axis in (1 + rank + i, 1 + i)]
    outputs = ops.transpose(outputs, (0, *order, 1 + 2 * rank))
    full = [length * s for length, s in zip(lengths, strides, strict=True)]
    outputs = ops.reshape(outputs, (batch, *full, filters))

    extras = output_padding or (None,) * rank
    axes = zip(size, strides, dilation_rate, extras, strict=True)
    starts, beyond = zip(*(_crop(padding, *axis) for axis in axes), strict=True)
    ends = zip(starts, beyond, strides, reach, strict=True)
    short = [(0, max(start + b - (1 + r) * s, 0)) for start, b, s, r in ends]
    if any(end for _, end in short):
        outputs = ops.pad(outputs, [(0, 0), *short, (0, 0)])
    kept = [(length - 1) * s + b for length, s, b in zip(spatial, strides, beyond, strict=True)]
    outputs = ops.slice(outputs, (0, *starts, 0), (batch, *kept, filters))
    return channels_to(outputs, data_format)


def _crop(
    padding: str, size: int, stride: int, dilation: int, extra: int | None
) -> tuple[int, int]:
    """Returns `(start, beyond)`: Keras keeps `(n - 1) stride + beyond` outputs from `start` on."""
    span = (size - 1) * dilation + 1
    if padding == "valid":
        return 0, max(span, stride) if extra is None else span + extra
    beyond = stride if extra is None else span % 2 + extra
    return max(span - 1 - (span + beyond - 1) // 2, 0), beyond
