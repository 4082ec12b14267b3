"""Transposed convolution with per-sample kernels."""

import itertools
from collections.abc import Sequence

from keras import ops

from keras_hyper.ops.conv import channels_last, channels_to
from keras_hyper.ops.per_sample import product
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
    rows = ops.reshape(inputs, (batch, product(spatial), channels))
    products = rows @ ops.transpose(matrix, (0, 2, 1))
    products = ops.reshape(products, (batch, *spatial, len(taps), filters))

    # How far a phase extends beyond the inputs, in steps of the stride.
    reach = [(k - 1) * d // s + 1 for k, d, s in zip(size, dilation_rate, strides, strict=True)]
    phases: dict[tuple[int, ...], Tensor] = {}
    for index, tap in enumerate(taps):
        offsets = [u * d for u, d in zip(tap, dilation_rate, strict=True)]
        phase = tuple(o % s for o, s in zip(offsets, strides, strict=True))
        starts = [o // s for o, s in zip(offsets, strides, strict=True)]
        widths = [(start, r - start) for start, r in zip(starts, reach, strict=True)]
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
    outputs = _cut(outputs, spatial, size, strides, padding, output_padding, dilation_rate)
    return channels_to(outputs, data_format)


def _cut(
    outputs: Tensor,
    spatial: Sequence[Tensor],
    size: Sequence[int],
    strides: Sequence[int],
    padding: str,
    output_padding: Sequence[int] | None,
    dilation_rate: Sequence[int],
) -> Tensor:
    """Crops the full outputs according to the padding, or pads them with zeros if too short."""
    starts, lengths = [0], [ops.shape(outputs)[0]]
    missing = [(0, 0)]
    for axis, (k, s, d) in enumerate(zip(size, strides, dilation_rate, strict=True)):
        span = (k - 1) * d + 1
        extra = None if output_padding is None else output_padding[axis]
        # Of `(n - 1) s + span` outputs, drop `start` and keep `(n - 1) s + beyond`, as Keras does.
        if padding == "valid":
            start, beyond = 0, max(span, s) if extra is None else span + extra
        else:
            beyond = s if extra is None else span % 2 + extra
            pad = span + beyond - 2
            start = span - 1 - min(pad // 2 + pad % 2, span - 1)
        starts.append(start)
        lengths.append((spatial[axis] - 1) * s + beyond)
        # The phases have `n + (k - 1) d // s + 1` steps of the stride.
        missing.append((0, max(start + beyond - s - ((k - 1) * d // s + 1) * s, 0)))
    missing.append((0, 0))
    if any(pad != (0, 0) for pad in missing):
        outputs = ops.pad(outputs, missing)
    return ops.slice(outputs, (*starts, 0), (*lengths, outputs.shape[-1]))
