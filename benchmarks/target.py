"""(l) Any model as a target, with other weights for each sample, forward and backward.

The perceptrons of benchmark (c), here as Keras models that know nothing of being
generated. All weights and biases are linear in a condition of width 8.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.dense import (
    CONDITION,
    REFERENCE,
    SIZES,
    data,
    hypnettorch_loop,
    hypnettorch_parts,
    jax_vmap,
    split,
    torch_module,
    torch_parts,
    torch_vmap,
)
from benchmarks.steps import gradient_step, torch_step

__all__ = ["CANDIDATES", "REFERENCE", "SIZES"]


def perceptron(widths: Any) -> Any:
    """Returns the target as a Keras model."""
    import keras

    activations = ["relu"] * (len(widths) - 2) + [None]
    dense = [
        keras.layers.Dense(units, activation)
        for units, activation in zip(widths[1:], activations, strict=True)
    ]
    return keras.Sequential([keras.Input((widths[0],)), *dense])


def ours(jit: bool = False) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a step with a `Hypernetwork`."""

    def make(size: Any) -> Callable[[], Any]:
        import keras

        from keras_hyper import Hypernetwork, LinearGenerator

        hyper = Hypernetwork(perceptron(size[0]), LinearGenerator(CONDITION), condition=CONDITION)
        x, condition = keras.Input((size[0][0],)), keras.Input((CONDITION,))
        model = keras.Model([x, condition], hyper(x, condition=condition))
        return gradient_step(model, data(size), jit)

    return make


def hypnettorch_vmap(size: Any) -> Callable[[], Any]:
    """Hypnettorch's target, mapped over the samples, which its documentation does not say."""
    import torch

    x, condition, head, _ = torch_parts(size)
    target, _ = hypnettorch_parts(size[0])

    def one(weights: Any, x: Any) -> Any:
        return target(x.unsqueeze(0), weights=list(weights))[0]

    def function(x: Any) -> Any:
        return torch.func.vmap(one)(tuple(split(head(condition), target.param_shapes)), x)

    return torch_step(function, x, list(head.parameters()))


def hyper_nn_vmap(size: Any) -> Callable[[], Any]:
    """hyper-nn's functional target, mapped over the samples."""
    import torch
    from hypernn.torch import TorchHyperNetwork

    x, condition, head, _ = torch_parts(size)
    hyper = TorchHyperNetwork(torch_module(size[0]))

    def one(weights: Any, x: Any) -> Any:
        return hyper.target_forward(x.unsqueeze(0), generated_params=weights)[0]

    def function(x: Any) -> Any:
        return torch.func.vmap(one)(head(condition), x)

    return torch_step(function, x, list(head.parameters()))


CANDIDATES = {
    "ours, TensorFlow": Candidate("tensorflow", ours()),
    "ours, TensorFlow XLA": Candidate("tensorflow", ours(jit=True)),
    "ours, JAX": Candidate("jax", ours()),
    "hypnettorch loop": Candidate("torch", hypnettorch_loop),
    "hypnettorch + vmap": Candidate("torch", hypnettorch_vmap),
    "hyper-nn + vmap": Candidate("torch", hyper_nn_vmap),
    "torch functional_call + vmap": Candidate("torch", torch_vmap),
    REFERENCE: Candidate("jax", jax_vmap),
}
