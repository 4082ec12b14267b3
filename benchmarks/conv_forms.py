"""(f) Forms of a convolution with a kernel for each sample on TensorFlow, without generator.

What (d) spends on TensorFlow, and what was tried there: all 3 x 3 windows at once, or
those along the width with shifted sums along the height (`keras_hyper.ops` takes the
form that writes fewer numbers), three products with slabs of rows, and a gradient that
is written out as a convolution with the flipped kernel. `products alone` has the three
matrix products of a form, on matrices that are there already.
"""

import operator
from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.conv import SIZES as EVERY_SIZE
from benchmarks.steps import normal, torch_step

SIZES = dict(list(EVERY_SIZE.items())[:2])  # Where (d) is slower than its aim.
REFERENCE = "torch grouped"


def windows(x: Any, rows: int, columns: int) -> Any:
    """Returns the windows of so many rows and columns, of an image padded for 3 x 3."""
    import tensorflow as tf

    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    batch, height, width, channels = padded.shape
    size = (batch, height + 1 - rows, width + 1 - columns, channels)
    corners = [(0, i, j, 0) for i in range(rows) for j in range(columns)]
    return tf.concat([tf.slice(padded, corner, size) for corner in corners], -1)


def flat(x: Any) -> Any:
    """Returns one row for each position."""
    import tensorflow as tf

    return tf.reshape(x, (x.shape[0], -1, x.shape[-1]))


def patches_factors(x: Any, k: Any) -> tuple[Any, Any]:
    """Returns all windows of the image, and the kernels as matrices."""
    return flat(windows(x, 3, 3)), flat(k)


def split_factors(x: Any, k: Any) -> tuple[Any, Any]:
    """Returns the windows along the width, and the rows of the kernels side by side."""
    import tensorflow as tf

    batch, _, _, channels, filters = k.shape
    matrix = tf.reshape(tf.transpose(k, (0, 2, 3, 1, 4)), (batch, 3 * channels, 3 * filters))
    return flat(windows(x, 1, 3)), matrix


def patches(x: Any, k: Any) -> Any:
    """Takes one product for all taps."""
    import tensorflow as tf

    rows, matrix = patches_factors(x, k)
    return tf.reshape(rows @ matrix, (*x.shape[:3], k.shape[-1]))


def split(x: Any, k: Any) -> Any:
    """Takes one product for the share of every kernel row, and adds them up."""
    import tensorflow as tf

    rows, matrix = split_factors(x, k)
    batch, height, width, _ = x.shape
    filters = k.shape[-1]
    shares = tf.reshape(rows @ matrix, (batch, height + 2, width, 3 * filters))
    size = (batch, height, width, filters)
    return sum(tf.slice(shares, (0, i, 0, i * filters), size) for i in range(3))


def slabs(x: Any, k: Any) -> Any:
    """Takes a product for each kernel row, with a slab of the windows along the width."""
    import tensorflow as tf

    along = windows(x, 1, 3)
    size = (*x.shape[:3], along.shape[-1])
    parts = [flat(tf.slice(along, (0, i, 0, 0), size)) @ flat(k[:, i]) for i in range(3)]
    return tf.reshape(sum(parts), (*x.shape[:3], k.shape[-1]))


def own_gradient(x: Any, k: Any) -> Any:
    """Splits, forward and in a gradient that is written out."""
    import tensorflow as tf

    @tf.custom_gradient
    def conv(x: Any, k: Any) -> Any:
        def gradient(dy: Any) -> Any:
            flipped = tf.transpose(tf.reverse(k, [1, 2]), (0, 1, 2, 4, 3))
            shifted = [tf.pad(dy, [[0, 0], [i, 2 - i], [0, 0], [0, 0]]) for i in range(3)]
            rows, _ = split_factors(x, k)
            dk = tf.matmul(rows, flat(tf.concat(shifted, -1)), transpose_a=True)
            batch, _, _, channels, filters = k.shape
            dk = tf.reshape(dk, (batch, 3, channels, 3, filters))
            return split(dy, flipped), tf.transpose(dk, (0, 3, 1, 2, 4))

        return split(x, k), gradient

    return conv(x, k)


def released(x: Any, k: Any) -> Any:
    """What the layers call."""
    from keras_hyper.ops import per_sample_conv

    return per_sample_conv(x, k, (1, 1), "same", "channels_last", (1, 1))


def step(function: Callable[..., Any], jit: bool, factors: Any = None) -> Callable[[Any], Any]:
    """Returns what makes a step of one form, or of the product of its factors."""

    def make(size: Any) -> Callable[[], Any]:
        import tensorflow as tf

        length, channels, filters, batch = size
        x = tf.constant(normal(batch, length, length, channels))
        k = tf.constant(0.02 * normal(batch, 3, 3, channels, filters))
        if factors is not None:
            x, k = factors(x, k)

        @tf.function(jit_compile=jit, autograph=False)
        def step(x: Any, k: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch([x, k])
                loss = tf.reduce_mean(tf.square(function(x, k)))
            return loss, tape.gradient(loss, [x, k])

        return lambda: step(x, k)[0].numpy()

    return make


def torch_grouped(size: Any) -> Callable[[], Any]:
    """PyTorch's convolution, the batch folded into its groups."""
    import torch
    from torch.nn import functional

    length, channels, filters, batch = size
    x = torch.tensor(normal(1, batch * channels, length, length))
    k = torch.tensor(0.02 * normal(batch * filters, channels, 3, 3)).requires_grad_(True)
    return torch_step(lambda x: functional.conv2d(x, k, padding=1, groups=batch), x, [k])


FORMS = {
    "released": (released, None),
    "patches": (patches, None),
    "split": (split, None),
    "slabs": (slabs, None),
    "split, own gradient": (own_gradient, None),
    "patches, products alone": (operator.matmul, patches_factors),
    "split, products alone": (operator.matmul, split_factors),
}
CANDIDATES = {REFERENCE: Candidate("torch", torch_grouped)} | {
    name + jit * ", XLA": Candidate("tensorflow", step(function, jit, factors))
    for name, (function, factors) in FORMS.items()
    for jit in (False, True)
}
