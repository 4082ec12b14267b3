"""Forward and backward steps of Keras models, as functions without arguments."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.worker import threads


def gradient_step(
    model: Any, data: Sequence[Any], jit: bool, training: bool = False
) -> Callable[[], Any]:
    """Returns a function that takes the gradients of a mean square output.

    By all trainable variables, and by the first input.

    Args:
        model: Keras model, of the current backend.
        data: List of NumPy arrays, its inputs.
        jit: Whether TensorFlow compiles it with XLA. JAX always does.
        training: What the model is called with.
    """
    import keras

    make = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]
    return make(model, data, jit, training)


def _tensorflow(model: Any, data: Sequence[Any], jit: bool, training: bool) -> Callable[[], Any]:
    import tensorflow as tf

    tensors = [tf.constant(d) for d in data]
    variables = [v.value for v in model.trainable_variables]

    @tf.function(jit_compile=jit)
    def step(*tensors: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(tensors[0])
            loss = tf.reduce_mean(tf.square(model(list(tensors), training=training)))
        return loss, tape.gradient(loss, [*variables, tensors[0]])

    return lambda: step(*tensors)[0].numpy()


def _jax(model: Any, data: Sequence[Any], jit: bool, training: bool) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    tensors = [jnp.asarray(d) for d in data]
    values = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    def loss(values: Any, first: Any) -> Any:
        inputs = [first, *tensors[1:]]
        outputs, _ = model.stateless_call(values, fixed, inputs, training=training)
        return jnp.mean(jnp.square(outputs))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(step(values, tensors[0]))


def _torch(model: Any, data: Sequence[Any], jit: bool, training: bool) -> Callable[[], Any]:
    import torch

    tensors = [torch.tensor(d) for d in data]
    parameters = [v.value for v in model.trainable_variables]
    return torch_step(lambda x: model([x, *tensors[1:]], training=training), tensors[0], parameters)


def torch_step(
    function: Callable[[Any], Any], inputs: Any, parameters: Sequence[Any]
) -> Callable[[], Any]:
    """Returns the same step for a PyTorch function of one input."""
    import torch

    torch.set_num_threads(threads())
    inputs = inputs.clone().requires_grad_(True)

    def step() -> float:
        loss = function(inputs).square().mean()
        torch.autograd.grad(loss, [*parameters, inputs])
        return loss.item()

    return step


def normal(*shape: int) -> np.ndarray:
    """Returns standard normal numbers, the same at every call."""
    return np.random.default_rng(0).normal(size=shape).astype("float32")
