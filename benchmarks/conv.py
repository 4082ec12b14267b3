"""(d) A convolution with another kernel for each sample, forward and backward.

The 3 x 3 kernels are linear in a condition of width 8.
"""

import math
from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import gradient_step, normal, torch_step
from benchmarks.worker import threads

CONDITION = 8
SIZES = {
    "16 x 16, 8 to 16, batch 32": (16, 8, 16, 32),
    "32 x 32, 32 to 32, batch 32": (32, 32, 32, 32),
    "8 x 8, 128 to 128, batch 64": (8, 128, 128, 64),
}
REFERENCE = "torch grouped"


def ours(jit: bool = False) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a step with a HyperConv2D layer."""

    def make(size: Any) -> Callable[[], Any]:
        import keras

        from keras_hyper import HyperConv2D, LinearGenerator

        length, channels, filters, batch = size
        x, condition = keras.Input((length, length, channels)), keras.Input((CONDITION,))
        layer = HyperConv2D(
            filters, 3, padding="same", use_bias=False, generator=LinearGenerator(CONDITION)
        )
        model = keras.Model([x, condition], layer(x, condition=condition))
        data = normal(batch, length, length, channels), normal(batch, CONDITION)
        return gradient_step(model, data, jit)

    return make


def torch_conv(grouped: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a step with the batch folded into groups, or with a vmap."""

    def make(size: Any) -> Callable[[], Any]:
        import torch
        from torch.nn import functional

        torch.set_num_threads(threads())
        length, channels, filters, batch = size
        x = torch.tensor(normal(batch, channels, length, length))
        condition = torch.tensor(normal(batch, CONDITION))
        head = torch.nn.Linear(CONDITION, filters * channels * 9)
        torch.nn.init.normal_(head.weight, std=0.02)

        def by_groups(x: Any) -> Any:
            kernels = head(condition).reshape(batch * filters, channels, 3, 3)
            folded = x.reshape(1, batch * channels, length, length)
            outputs = functional.conv2d(folded, kernels, padding=1, groups=batch)
            return outputs.reshape(batch, filters, length, length)

        def by_vmap(x: Any) -> Any:
            kernels = head(condition).reshape(batch, filters, channels, 3, 3)
            return torch.func.vmap(lambda x, k: functional.conv2d(x, k, padding=1))(x, kernels)

        return torch_step(by_groups if grouped else by_vmap, x, list(head.parameters()))

    return make


def tensorflow_grouped(size: Any) -> Callable[[], Any]:
    """The same with TensorFlow's convolution, whose gradient some CPU builds do not have."""
    import tensorflow as tf

    length, channels, filters, batch = size
    x = tf.constant(normal(batch, length, length, channels))
    condition = tf.constant(normal(batch, CONDITION))
    head = tf.Variable(0.02 * normal(CONDITION, 9 * channels * filters))

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            kernels = tf.reshape(condition @ head, (batch, 3, 3, channels, filters))
            kernels = tf.transpose(kernels, (1, 2, 3, 0, 4))
            kernels = tf.reshape(kernels, (3, 3, channels, batch * filters))
            folded = tf.reshape(
                tf.transpose(x, (1, 2, 0, 3)), (1, length, length, batch * channels)
            )
            outputs = tf.nn.conv2d(folded, kernels, 1, "SAME")
            loss = tf.reduce_mean(tf.square(outputs))
        return loss, tape.gradient(loss, [head, x])

    return lambda: step(x)[0].numpy()


def jax_vmap(size: Any) -> Callable[[], Any]:
    """A convolution of one sample, mapped and compiled."""
    import jax
    import jax.numpy as jnp

    length, channels, filters, batch = size
    x = jnp.asarray(normal(batch, length, length, channels))
    condition = jnp.asarray(normal(batch, CONDITION))
    head = jnp.asarray(0.02 * normal(CONDITION, math.prod((9, channels, filters))))
    dimensions = ("NHWC", "HWIO", "NHWC")

    def one(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "SAME", dimension_numbers=dimensions
        )[0]

    def loss(head: Any, x: Any) -> Any:
        kernels = (condition @ head).reshape(batch, 3, 3, channels, filters)
        return jnp.mean(jnp.square(jax.vmap(one)(x, kernels)))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(step(head, x))


CANDIDATES = {
    "ours, TensorFlow": Candidate("tensorflow", ours()),
    "ours, TensorFlow XLA": Candidate("tensorflow", ours(jit=True)),
    "ours, JAX": Candidate("jax", ours()),
    "ours, PyTorch": Candidate("torch", ours()),
    REFERENCE: Candidate("torch", torch_conv(grouped=True)),
    "torch vmap": Candidate("torch", torch_conv(grouped=False)),
    "TensorFlow grouped": Candidate("tensorflow", tensorflow_grouped),
    "JAX vmap + jit": Candidate("jax", jax_vmap),
}
