"""(g) A training step of recurrent layers: gradients by all weights and by the inputs."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import gradient_step, normal, torch_step
from benchmarks.worker import threads

# Batch, steps, width of the inputs, units, width of the hyper cell, of the embeddings.
SIZES = {
    "32 x 50, 64 to 1000, 128, 4": (32, 50, 64, 1000, 128, 4),
    "64 x 100, 128 to 256, 128, 16": (64, 100, 128, 256, 128, 16),
    "128 x 100, 50 to 1000, 128, 4": (128, 100, 50, 1000, 128, 4),
}
REFERENCE = "Keras LSTM"


def data(size: Any) -> Any:
    """Returns sequences of a size."""
    return normal(*size[:3])


def keras_model(
    size: Any, hyper: bool, layer_norm: bool = False, recurrent_dropout: float = 0.0
) -> Any:
    """Returns a model of one recurrent layer, for sequences of any length."""
    import keras

    from keras_hyper import HyperLSTM

    _, _, width, units, hyper_units, embedding_dim = size
    inputs = keras.Input((None, width))
    if hyper:
        layer = HyperLSTM(
            units,
            hyper_units=hyper_units,
            embedding_dim=embedding_dim,
            layer_norm=layer_norm,
            recurrent_dropout=recurrent_dropout,
            return_sequences=True,
        )
    else:
        layer = keras.layers.LSTM(units, return_sequences=True)
    return keras.Model([inputs], layer(inputs))


def trained(jit: bool, **model: Any) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a training step of a Keras model."""
    return lambda size: gradient_step(keras_model(size, **model), [data(size)], jit, training=True)


def torch_module(size: Any, hyper: bool) -> Any:
    """Returns PyTorch's LSTM or labml's HyperLSTM, which always has layer normalisation."""
    import torch

    torch.set_num_threads(threads())
    _, _, width, units, hyper_units, embedding_dim = size
    if not hyper:
        return torch.nn.LSTM(width, units)
    from labml_nn.hypernetworks.hyper_lstm import HyperLSTM

    return HyperLSTM(width, units, hyper_units, embedding_dim, 1)


def torch_inputs(size: Any) -> Any:
    """Returns the sequences for PyTorch's modules, which take `(steps, batch, width)`."""
    import torch

    return torch.tensor(data(size)).transpose(0, 1).contiguous()


def torch_trained(hyper: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a training step of a PyTorch module."""

    def make(size: Any) -> Callable[[], Any]:
        module, x = torch_module(size, hyper), torch_inputs(size)
        return torch_step(lambda x: module(x)[0], x, list(module.parameters()))

    return make


def products(size: Any, hyper: bool) -> float:
    """Returns the multiplications and additions of one forward pass in its products."""
    batch, steps, width, units, hyper_units, embedding_dim = size
    numbers = 4 * units * (units + width)
    if hyper:
        numbers += 4 * hyper_units * (units + width + hyper_units)
        numbers += 12 * embedding_dim * (hyper_units + units)
    return 2.0 * batch * steps * numbers


def on_tensorflow(
    step: Callable[..., Any], work: Callable[[bool], Any] = lambda hyper: None
) -> dict[str, Candidate]:
    """Returns the Keras models on TensorFlow, plain and compiled.

    Args:
        step: `step(jit, **model)` makes what is measured of `keras_model(size, **model)`.
        work: `work(hyper)` is the `operations` of a candidate.
    """
    models = {
        "ours": {"hyper": True},
        "ours, layer norm": {"hyper": True, "layer_norm": True},
        REFERENCE: {"hyper": False},
    }
    return {
        f"{name}, XLA" if jit else name: Candidate(
            "tensorflow", step(jit, **model), work(model["hyper"])
        )
        for name, model in models.items()
        for jit in (False, True)
    }


def candidates(
    keras_step: Callable[..., Any], in_torch: Callable[[bool], Any], passes: int
) -> dict[str, Candidate]:
    """Returns all candidates.

    Args:
        keras_step: As `step` in `on_tensorflow`.
        in_torch: `in_torch(hyper)` makes the same of PyTorch's modules.
        passes: How many times the products of a forward pass it takes.
    """

    def work(hyper: bool) -> Callable[[Any], float]:
        return lambda size: passes * products(size, hyper)

    return {
        **on_tensorflow(keras_step, work),
        "ours, JAX": Candidate("jax", keras_step(True, hyper=True), work(True)),
        "torch LSTM": Candidate("torch", in_torch(False), work(False)),
        "labml HyperLSTM (layer norm)": Candidate("torch", in_torch(True), work(True)),
    }


# Each product has two in its gradient.
CANDIDATES = candidates(trained, torch_trained, passes=3)
