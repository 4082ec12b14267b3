"""Times ways to cut the windows of an image, forward and backward, side by side.

    KERAS_BACKEND=tensorflow python benchmarks/patches.py

One thread, alternating, minimum of 9 runs each; TensorFlow plain and compiled,
JAX compiled, PyTorch eager. `slices` is what `keras_hyper.ops` does.
"""

import os

os.environ.update(
    OMP_NUM_THREADS="1",
    TF_NUM_INTRAOP_THREADS="1",
    TF_NUM_INTEROP_THREADS="1",
    XLA_FLAGS="--xla_cpu_multi_thread_eigen=false",
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import numpy as np
from keras import ops

SIZES = [(32, 16, 8), (32, 32, 32), (64, 8, 128)]  # Batch, height and width, channels.
TAPS = [(i, j) for i in range(3) for j in range(3)]


def padded(x):
    """Pads for a 3 x 3 kernel and "same"."""
    return ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])


def slices(x):
    """`ops.slice` and concatenate."""
    shape = ops.shape(x)
    x = padded(x)
    return ops.concatenate([ops.slice(x, (0, i, j, 0), shape) for i, j in TAPS], -1)


def python_slices(x):
    """Python slicing and concatenate."""
    x = padded(x)
    return ops.concatenate([x[:, i : (i - 2) or None, j : (j - 2) or None] for i, j in TAPS], -1)


def extract_patches(x):
    """Keras's own operation."""
    return ops.image.extract_patches(x, (3, 3), strides=1, padding="same")


def depthwise(x):
    """A depthwise convolution whose filters are shifts."""
    channels = x.shape[-1]
    shifts = ops.reshape(ops.tile(ops.eye(9)[:, None], (1, channels, 1)), (3, 3, channels, 9))
    return ops.depthwise_conv(x, shifts, 1, "same")


def runs(function, x):
    """Yields `(name, callable)` for the gradient of the sum of squares by `x`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        for jit in (False, True):

            @tf.function(jit_compile=jit, input_signature=[tf.TensorSpec((None, *x.shape[1:]))])
            def gradient(x):
                with tf.GradientTape() as tape:
                    tape.watch(x)
                    loss = tf.reduce_sum(tf.square(function(x)))
                return tape.gradient(loss, x)

            tensor = tf.constant(x)
            yield "xla" if jit else "plain", lambda g=gradient, t=tensor: g(t).numpy()
    elif backend == "jax":
        import jax

        gradient = jax.jit(jax.grad(lambda x: (function(x) ** 2).sum()))
        yield "jit", lambda: jax.block_until_ready(gradient(x))
    else:
        import torch

        torch.set_num_threads(1)
        tensor = torch.tensor(x, requires_grad=True)
        yield "eager", lambda: torch.autograd.grad((function(tensor) ** 2).sum(), tensor)


def main() -> None:
    """Prints a table in milliseconds."""
    print(f"keras {keras.__version__}, {keras.backend.backend()}, one thread, ms")
    for batch, size, channels in SIZES:
        x = np.random.default_rng(0).normal(size=(batch, size, size, channels)).astype("float32")
        ways = {
            f"{function.__name__} {mode}": run
            for function in (slices, python_slices, extract_patches, depthwise)
            for mode, run in runs(function, x)
        }
        best = dict.fromkeys(ways, float("inf"))
        for run in ways.values():
            run()
        for _ in range(9):
            for name, run in ways.items():
                start = time.perf_counter()
                run()
                best[name] = min(best[name], time.perf_counter() - start)
        print(f"batch {batch}, {size} x {size}, {channels} channels")
        for name, seconds in best.items():
            print(f"  {name:24}{1e3 * seconds:8.1f}")


if __name__ == "__main__":
    main()
