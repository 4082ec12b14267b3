"""(c) A perceptron with other weights for each sample, forward and backward.

All weights and biases are linear in a condition of width 8. The others generate
them and then apply them; `LinearGenerator` is a linear function as well, after a
projection of the condition that the others do not have.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import gradient_step, normal, torch_step
from benchmarks.worker import threads

CONDITION = 8
SIZES = {
    "32-64-32, batch 64": ((32, 64, 32), 64),
    "64-256-256-10, batch 128": ((64, 256, 256, 10), 128),
    "784-400-10, batch 64": ((784, 400, 10), 64),
}
REFERENCE = "JAX vmap + jit"


def data(size: Any) -> tuple[Any, Any]:
    """Returns inputs and conditions."""
    (width, *_), batch = size
    return normal(batch, width), normal(batch, CONDITION)


def ours(jit: bool = False) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a step with HyperDense layers."""

    def make(size: Any) -> Callable[[], Any]:
        import keras

        from keras_hyper import HyperDense, LinearGenerator

        widths, _ = size
        x, condition = keras.Input((widths[0],)), keras.Input((CONDITION,))
        h = x
        for i, units in enumerate(widths[1:]):
            activation = "relu" if i < len(widths) - 2 else None
            generator = LinearGenerator(CONDITION)
            h = HyperDense(units, activation, generator=generator, generate_bias=True)(
                h, condition=condition
            )
        return gradient_step(keras.Model([x, condition], h), data(size), jit)

    return make


def shapes_of(widths: Any) -> list[tuple[int, ...]]:
    """Returns the shapes of weights and biases, weights as (out, in)."""
    return [
        shape
        for fan_in, units in itertools.pairwise(widths)
        for shape in ((units, fan_in), (units,))
    ]


def torch_parts(size: Any) -> tuple[Any, Any, Any, list[tuple[int, ...]]]:
    """Returns inputs, conditions, the linear hypernetwork and the target's shapes."""
    import torch

    torch.set_num_threads(threads())
    x, condition = (torch.tensor(d) for d in data(size))
    shapes = shapes_of(size[0])
    head = torch.nn.Linear(CONDITION, sum(map(math.prod, shapes)))
    torch.nn.init.normal_(head.weight, std=0.02)
    return x, condition, head, shapes


def split(flat: Any, shapes: list[tuple[int, ...]]) -> list[Any]:
    """Returns the weights of each sample out of one vector for each."""
    parts, start = [], 0
    for shape in shapes:
        parts.append(flat[:, start : start + math.prod(shape)].reshape(-1, *shape))
        start += math.prod(shape)
    return parts


def torch_bmm(size: Any) -> Callable[[], Any]:
    """By hand: one batched product for each layer."""
    import torch

    x, condition, head, shapes = torch_parts(size)

    def function(x: Any) -> Any:
        weights = split(head(condition), shapes)
        h = x.unsqueeze(2)
        for i in range(0, len(weights), 2):
            h = torch.baddbmm(weights[i + 1].unsqueeze(2), weights[i], h)
            h = h.relu() if i + 2 < len(weights) else h
        return h

    return torch_step(function, x, list(head.parameters()))


def torch_module(widths: Any) -> Any:
    """Returns the target as a module."""
    import torch

    layers: list[Any] = []
    for fan_in, units in itertools.pairwise(widths):
        layers += [torch.nn.Linear(fan_in, units), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def hypnettorch_parts(widths: Any) -> tuple[Any, Any]:
    """Returns hypnettorch's target, and its linear hypernetwork."""
    import numpy as np

    np.int = int  # Gone from NumPy since this package was written.
    from hypnettorch.hnets import HMLP
    from hypnettorch.mnets import MLP

    target = MLP(
        n_in=widths[0],
        n_out=widths[-1],
        hidden_layers=list(widths[1:-1]),
        no_weights=True,
        verbose=False,
    )
    hyper = HMLP(
        target.param_shapes,
        uncond_in_size=CONDITION,
        cond_in_size=0,
        layers=(),
        num_cond_embs=0,
        verbose=False,
    )
    return target, hyper


def torch_vmap(size: Any) -> Callable[[], Any]:
    """`torch.func.functional_call` of a module, mapped over the samples."""
    import torch

    x, condition, head, shapes = torch_parts(size)
    target = torch_module(size[0])
    names = [name for name, _ in target.named_parameters()]

    def one(weights: Any, x: Any) -> Any:
        return torch.func.functional_call(target, weights, (x,))

    def function(x: Any) -> Any:
        weights = dict(zip(names, split(head(condition), shapes), strict=True))
        return torch.func.vmap(one)(weights, x)

    return torch_step(function, x, list(head.parameters()))


def hypnettorch_loop(size: Any) -> Callable[[], Any]:
    """As its documentation says: the weights of all samples, then a loop over them."""
    import torch

    x, condition, _, _ = torch_parts(size)
    target, hyper = hypnettorch_parts(size[0])

    def function(x: Any) -> Any:
        weights = hyper(uncond_input=condition)
        rows = [target(x[i : i + 1], weights=w) for i, w in enumerate(weights)]
        return torch.cat(rows)

    return torch_step(function, x, list(hyper.parameters()))


def jax_vmap(size: Any) -> Callable[[], Any]:
    """A function of one sample, mapped and compiled."""
    import jax
    import jax.numpy as jnp

    x, condition = (jnp.asarray(d) for d in data(size))
    shapes = shapes_of(size[0])
    total = sum(map(math.prod, shapes))
    head = (jnp.asarray(0.02 * normal(CONDITION, total)), jnp.zeros(total))

    def one(weights: Any, x: Any) -> Any:
        for i in range(0, len(weights), 2):
            x = weights[i] @ x + weights[i + 1]
            x = jax.nn.relu(x) if i + 2 < len(weights) else x
        return x

    def loss(head: Any, x: Any) -> Any:
        weights = split(condition @ head[0] + head[1], shapes)
        return jnp.mean(jnp.square(jax.vmap(one)(weights, x)))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return lambda: jax.block_until_ready(step(head, x))


CANDIDATES = {
    "ours, TensorFlow": Candidate("tensorflow", ours()),
    "ours, TensorFlow XLA": Candidate("tensorflow", ours(jit=True)),
    "ours, JAX": Candidate("jax", ours()),
    "ours, PyTorch": Candidate("torch", ours()),
    "hypnettorch loop": Candidate("torch", hypnettorch_loop),
    "torch functional_call + vmap": Candidate("torch", torch_vmap),
    "torch bmm": Candidate("torch", torch_bmm),
    REFERENCE: Candidate("jax", jax_vmap),
}
