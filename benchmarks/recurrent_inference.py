"""(h) Inference of the same recurrent layers, one batch."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.recurrent import REFERENCE as REFERENCE
from benchmarks.recurrent import SIZES as SIZES
from benchmarks.recurrent import data, keras_model, products, torch_module


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

        module = torch_module(size, hyper)
        x = torch.tensor(data(size)).transpose(0, 1).contiguous()

        def step() -> Any:
            with torch.inference_mode():
                return module(x)[0]

        return step

    return make


def operations(hyper: bool) -> Callable[[Any], float]:
    """Returns the multiplications and additions of a forward pass."""
    return lambda size: products(size, hyper)


CANDIDATES = {
    "ours": Candidate("tensorflow", served(jit=False, hyper=True), operations(True)),
    "ours, XLA": Candidate("tensorflow", served(jit=True, hyper=True), operations(True)),
    "ours, layer norm": Candidate(
        "tensorflow", served(jit=False, hyper=True, layer_norm=True), operations(True)
    ),
    "ours, layer norm, XLA": Candidate(
        "tensorflow", served(jit=True, hyper=True, layer_norm=True), operations(True)
    ),
    "ours, JAX": Candidate("jax", served(jit=True, hyper=True), operations(True)),
    REFERENCE: Candidate("tensorflow", served(jit=False, hyper=False), operations(False)),
    "Keras LSTM, XLA": Candidate("tensorflow", served(jit=True, hyper=False), operations(False)),
    "torch LSTM": Candidate("torch", torch_served(hyper=False), operations(False)),
    "labml HyperLSTM (layer norm)": Candidate("torch", torch_served(hyper=True), operations(True)),
}
