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


def conv(x, kernel, bias=0.0, strides=(1, 1), padding="valid", dilation_rate=(1, 1)):
    """A 2D convolution of one sample (height, width, channels), tap by tap.

    Groups follow from the channels: the kernel is (kh, kw, channels // groups,
    filters).
    """
    kh, kw, width, filters = kernel.shape
    groups = x.shape[-1] // width
    reach = [(k - 1) * d + 1 for k, d in zip((kh, kw), dilation_rate, strict=True)]
    if padding == "same":
        pads = []
        for n, r, s in zip(x.shape[:2], reach, strides, strict=True):
            total = max((math.ceil(n / s) - 1) * s + r - n, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [*pads, (0, 0)])
    size = [(n - r) // s + 1 for n, r, s in zip(x.shape[:2], reach, strides, strict=True)]
    out = np.zeros((*size, filters))
    for p in range(size[0]):
        for q in range(size[1]):
            for f in range(filters):
                group = f // (filters // groups)
                for u in range(kh):
                    for v in range(kw):
                        row = p * strides[0] + u * dilation_rate[0]
                        column = q * strides[1] + v * dilation_rate[1]
                        part = x[row, column, group * width : (group + 1) * width]
                        out[p, q, f] += part @ kernel[u, v, :, f]
    return out + bias
