"""(h) Inference of the same recurrent layers, one batch."""

from collections.abc import Callable
from typing import Any

from benchmarks.recurrent import REFERENCE as REFERENCE
from benchmarks.recurrent import SIZES as SIZES
from benchmarks.recurrent import candidates, data, keras_model, torch_inputs, torch_module


def served(jit: bool, **model: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a forward pass of a Keras model."""

    def make(size: Any) -> Callable[[], Any]:
        network = keras_model(size, **model)
        network.compile(jit_compile=jit)
        x = data(size)
        return lambda: network.predict_on_batch([x])

    return make


def torch_served(hyper: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a forward pass of a PyTorch module."""

    def make(size: Any) -> Callable[[], Any]:
        import torch

        module, x = torch_module(size, hyper), torch_inputs(size)

        def step() -> Any:
            with torch.inference_mode():
                return module(x)[0]

        return step

    return make


CANDIDATES = candidates(served, torch_served, passes=1)
