"""The equations in plain NumPy float64, written from the papers, not from the code.

HyperNetworks: Ha, Dai & Le, ICLR 2017, section 3.1 and appendix A.2.1. Where
the code under test works with reshapes and one product, this file has loops.
"""

import math

import numpy as np


def tile(z, w, b, w_out, b_out):
    """Equations (1) and (2): one tile from its embedding.

    `w` is (n_in, d, n_z), `b` (n_in, d), `w_out` (*spatial, n_out, d) and
    `b_out` (*spatial, n_out). Returns (*spatial, n_in, n_out).
    """
    slices = []
    for i in range(w.shape[0]):
        a_i = w[i] @ z + b[i]
        slices.append(np.tensordot(w_out, a_i, axes=([-1], [0])) + b_out)
    return np.stack(slices, axis=-2)


def tiled_kernel(embeddings, w, b, w_out, b_out, shape):
    """Equation (3): tiles row by row, and the part of them that the kernel needs."""
    n_in, n_out = w.shape[0], w_out.shape[-2]
    columns = math.ceil(shape[-1] / n_out)
    rows = math.ceil(shape[-2] / n_in)
    kernel = np.zeros((*shape[:-2], rows * n_in, columns * n_out))
    for t, z in enumerate(embeddings):
        row, column = divmod(t, columns)
        block = (slice(row * n_in, (row + 1) * n_in), slice(column * n_out, (column + 1) * n_out))
        kernel[(..., *block)] = tile(z, w, b, w_out, b_out)
    return kernel[..., : shape[-2], : shape[-1]]


def linear_weight(e, h, beta, shape):
    """Equation (5): `W = <H, e> + beta`."""
    weight = np.array(beta, dtype="float64")
    for k, e_k in enumerate(e):
        weight = weight + e_k * h[k]
    return weight.reshape(shape)


def mlp_features(e, layers, activation):
    """Hidden layers `f(U h + c)`, then division by the root mean square."""
    for kernel, bias in layers:
        e = activation(e @ kernel + bias)
    return e / np.sqrt(np.mean(e**2) + 1e-7)


def embedding(e_0, projection, condition):
    """`n(e_0 + P c)`, over all numbers of the embedding. `P` is (dim, e_0.size)."""
    e = e_0 + (condition @ projection).reshape(e_0.shape)
    return e / np.sqrt(np.mean(e**2) + 1e-7)


def dense(x, kernel, bias=0.0):
    """`x W + b` for one sample of any rank."""
    out = np.zeros((*x.shape[:-1], kernel.shape[-1]))
    for j in range(kernel.shape[-1]):
        out[..., j] = (x * kernel[:, j]).sum(axis=-1)
    return out + bias


def einsum_dense(x, kernel, bias, equation):
    """A sum over all axes of an equation without an ellipsis, number by number."""
    into, axes, out = equation.replace(",", " ").replace("->", " ").split()
    lengths = dict(zip(into + axes, x.shape + kernel.shape, strict=True))
    y = np.zeros([lengths[axis] for axis in out])
    for place in np.ndindex(*lengths.values()):
        at = dict(zip(lengths, place, strict=True))
        number = x[tuple(at[a] for a in into)] * kernel[tuple(at[a] for a in axes)]
        y[tuple(at[a] for a in out)] += number
    return y + bias


def chunked_weight(embeddings, layers, head, activation, shape):
    """`H n(h(e_j)) + beta` for each chunk `j`, in a row, cut to size, unit after unit."""
    chunks = [mlp_features(e, layers, activation) @ head[0] + head[1] for e in embeddings]
    numbers = np.concatenate(chunks)[: math.prod(shape)]
    weight = np.empty(shape)
    for unit, own in enumerate(numbers.reshape(shape[-1], -1)):
        weight[..., unit] = own.reshape(shape[:-1])
    return weight


def low_rank_weight(e, head, rank, shape):
    """`U V / sqrt(rank)`: the numbers of `U`, then those of `V`, linear in `e`."""
    numbers = e @ head[0] + head[1]
    rows = math.prod(shape[:-1])
    weight = np.zeros((rows, shape[-1]))
    for k in range(rank):
        u = numbers[: rows * rank].reshape(rows, rank)[:, k]
        v = numbers[rows * rank :].reshape(rank, shape[-1])[k]
        weight += np.outer(u, v)
    return (weight / math.sqrt(rank)).reshape(shape)


def template_weight(e, templates, coefficients, temperature):
    """`sum_k a_k T_k` with `a` the embedding, its softmax or its sigmoid."""
    if coefficients == "linear":
        a = e
    elif coefficients == "softmax":
        a = np.exp(e / temperature) / np.exp(e / temperature).sum()
    else:
        a = 1 / (1 + np.exp(-e / temperature))
    return sum(a_k * template for a_k, template in zip(a, templates, strict=True))


def normalize(weight, kind, unit_axes):
    """Layer norm or RMS over a weight, or an RMS for each of its units."""
    if kind == "layer":
        weight = weight - weight.mean()
    axes = None
    if kind == "weight":
        axes = tuple(a for a in range(weight.ndim) if a - weight.ndim not in unit_axes)
    return weight / np.sqrt(np.mean(weight**2, axis=axes, keepdims=axes is not None) + 1e-7)


def compose(composition, base, change, gate):
    """What a stored weight and a generated change make."""
    if composition == "add":
        return base + gate * change
    return base * (1 + gate * change)


def same_padding(lengths, reach, strides):
    """Zeros before and after each spatial axis, for padding="same"."""
    pads = []
    for n, r, s in zip(lengths, reach, strides, strict=True):
        total = max((math.ceil(n / s) - 1) * s + r - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def conv(x, kernel, bias=0.0, strides=(1, 1), padding="valid", dilation_rate=(1, 1), depth=None):
    """A convolution of one sample (*spatial, channels) of any dimension, tap by tap.

    Groups follow from the channels: the kernel is (*size, channels // groups,
    filters). With `depth`, it is depthwise and the kernel (*size, channels, depth).
    """
    size, (width, filters) = kernel.shape[:-2], kernel.shape[-2:]
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation_rate, strict=True)]
    if padding == "same":
        x = np.pad(x, [*same_padding(x.shape[:-1], reach, strides), (0, 0)])
    if padding == "causal":
        x = np.pad(x, [(reach[0] - 1, 0), (0, 0)])
    lengths = [(n - r) // s + 1 for n, r, s in zip(x.shape[:-1], reach, strides, strict=True)]
    groups = x.shape[-1] // width
    units = x.shape[-1] * depth if depth else filters
    out = np.zeros((*lengths, units))
    for place in np.ndindex(*lengths):
        for tap in np.ndindex(*size):
            at = tuple(
                p * s + u * d for p, s, u, d in zip(place, strides, tap, dilation_rate, strict=True)
            )
            for f in range(units):
                if depth:
                    out[(*place, f)] += x[(*at, f // depth)] * kernel[(*tap, f // depth, f % depth)]
                else:
                    group = f // (filters // groups)
                    part = x[at][group * width : (group + 1) * width]
                    out[(*place, f)] += part @ kernel[tap][:, f]
    return out + bias


def conv_transpose(
    x, kernel, bias=0.0, strides=(1, 1), padding="valid", dilation_rate=(1, 1), output_padding=None
):
    """The transpose of a convolution of one sample (*spatial, channels), tap by tap.

    The kernel is (*size, filters, channels). The outputs `full` of all taps are
    as many as the taps reach; which of them count is Keras's rule.
    """
    size, filters = kernel.shape[:-2], kernel.shape[-2]
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation_rate, strict=True)]
    starts, lengths = [], []
    for n, s, r, i in zip(x.shape[:-1], strides, reach, range(len(size)), strict=True):
        extra = None if output_padding is None else output_padding[i]
        if padding == "valid":
            starts.append(0)
            lengths.append((n - 1) * s + (max(r, s) if extra is None else r + extra))
        else:
            length = n * s if extra is None else (n - 1) * s + r % 2 + extra
            # TensorFlow: the convolution that gives `n` of `length` pads so much.
            starts.append(max((n - 1) * s + r - length, 0) // 2)
            lengths.append(length)
    full = np.zeros([a + b + r for a, b, r in zip(starts, lengths, reach, strict=True)] + [filters])
    for place in np.ndindex(*x.shape[:-1]):
        for tap in np.ndindex(*size):
            at = tuple(
                p * s + u * d for p, s, u, d in zip(place, strides, tap, dilation_rate, strict=True)
            )
            full[at] += kernel[tap] @ x[place]
    return full[tuple(slice(a, a + b) for a, b in zip(starts, lengths, strict=True))] + bias
