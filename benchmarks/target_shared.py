"""(m) Any model as a target, with one set of weights for the batch, forward and backward."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.dense import (
    CONDITION,
    SIZES,
    hypnettorch_parts,
    shapes_of,
    split,
    torch_module,
    torch_parts,
)
from benchmarks.steps import gradient_step, normal, torch_step
from benchmarks.target import perceptron

__all__ = ["CANDIDATES", "SIZES"]
REFERENCE = "JAX jit"


def ours(jit: bool = False) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a step with a `Hypernetwork` at a condition."""

    def make(size: Any) -> Callable[[], Any]:
        import keras

        from keras_hyper import Hypernetwork, LinearGenerator

        widths, batch = size
        hyper = Hypernetwork(perceptron(widths), LinearGenerator(CONDITION), condition=CONDITION)
        x = keras.Input((widths[0],))
        model = keras.Model([x], hyper.at(normal(CONDITION))(x))
        return gradient_step(model, [normal(batch, widths[0])], jit)

    return make


def torch_call(size: Any) -> Callable[[], Any]:
    """`torch.func.functional_call` of a module."""
    import torch

    x, condition, head, shapes = torch_parts(size)
    target = torch_module(size[0])
    names = [name for name, _ in target.named_parameters()]

    def function(x: Any) -> Any:
        weights = [w[0] for w in split(head(condition[:1]), shapes)]
        return torch.func.functional_call(target, dict(zip(names, weights, strict=True)), (x,))

    return torch_step(function, x, list(head.parameters()))


def hypnettorch(size: Any) -> Callable[[], Any]:
    """Hypnettorch's target with the weights of its linear hypernetwork."""
    x, condition, _, _ = torch_parts(size)
    target, hyper = hypnettorch_parts(size[0])

    def function(x: Any) -> Any:
        return target(x, weights=hyper(uncond_input=condition[:1]))

    return torch_step(function, x, list(hyper.parameters()))


def jax_jit(size: Any) -> Callable[[], Any]:
    """A function, compiled."""
    import math

    import jax
    import jax.numpy as jnp

    widths, batch = size
    x, condition = jnp.asarray(normal(batch, widths[0])), jnp.asarray(normal(1, CONDITION))
    shapes = shapes_of(widths)
    total = sum(map(math.prod, shapes))
    head = (jnp.asarray(0.02 * normal(CONDITION, total)), jnp.zeros(total))

    def loss(head: Any, x: Any) -> Any:
        weights = [w[0] for w in split(condition @ head[0] + head[1], shapes)]
        for i in range(0, len(weights), 2):
            x = x @ weights[i].T + weights[i + 1]
            x = jax.nn.relu(x) if i + 2 < len(weights) else x
        return jnp.mean(jnp.square(x))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(step(head, x))


CANDIDATES = {
    "ours, TensorFlow": Candidate("tensorflow", ours()),
    "ours, TensorFlow XLA": Candidate("tensorflow", ours(jit=True)),
    "ours, JAX": Candidate("jax", ours()),
    "hypnettorch": Candidate("torch", hypnettorch),
    "torch functional_call": Candidate("torch", torch_call),
    REFERENCE: Candidate("jax", jax_jit),
}
