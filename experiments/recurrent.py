"""The recurrent layers that the experiments compare, and how they go on from given states."""

import bisect
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
from keras import layers

from experiments.config import Config, option
from experiments.training import trained
from keras_hyper import HyperLSTM, LayerNormLSTM

MODELS = ("LSTM", "LN-LSTM", "HyperLSTM", "LN-HyperLSTM")


@dataclasses.dataclass(frozen=True)
class RecurrentConfig(Config):
    """What experiments with recurrent layers have."""

    model: str = option("LN-HyperLSTM", "which recurrent layer", MODELS)
    depth: int = option(1, "how many of them, one over the other")
    units: int = option(1000, "of each")
    parameters: int = option(0, "as many units as fit into so many parameters, 0 for --units")
    hyper_units: int = option(128, "of the hyper cell")
    embedding_dim: int = option(4, "width of the embeddings of the hyper cell")
    initialization: str = option("paper", "of the recurrent layer")
    recurrent_dropout: float = option(0.1, "of the candidates")
    hyper_recurrent_dropout: float = option(0.0, "of those of the hyper cell")
    clip: float = option(1.0, "norm of all gradients together, 0 to leave them")

    @classmethod
    def chosen(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Returns what a command line gives: `--units` in place of a preset's parameters."""
        if given.get("units") and given.get("parameters"):
            raise SystemExit("--units and --parameters both say how wide the layers are: give one.")
        return {"parameters": 0, **given} if given.get("units") else given


R = TypeVar("R", bound=RecurrentConfig)


def recurrent(config: RecurrentConfig, **kwargs: Any) -> Any:
    """Returns one recurrent layer, which returns all outputs and its states."""
    options: dict[str, Any] = {
        "layer_norm": config.model.startswith("LN-"),
        "recurrent_dropout": config.recurrent_dropout,
        "return_sequences": True,
        "return_state": True,
        **kwargs,
    }
    if config.model.endswith("HyperLSTM"):
        return HyperLSTM(
            config.units,
            hyper_units=config.hyper_units,
            embedding_dim=config.embedding_dim,
            initialization=config.initialization,
            hyper_recurrent_dropout=config.hyper_recurrent_dropout,
            **options,
        )
    # Without normalisation an LSTM, with the recurrent dropout that the paper uses.
    return LayerNormLSTM(config.units, **options)


class Stack:
    """Recurrent layers, one over the other, with dropout of what goes in and comes out."""

    def __init__(self, config: RecurrentConfig, before: float, after: float) -> None:
        self.layers = [recurrent(config) for _ in range(config.depth)]
        self.before = layers.Dropout(before)
        self.after = [layers.Dropout(after) for _ in self.layers]

    def __call__(self, x: Any, states: Sequence[Any] | None = None) -> tuple[Any, list[Any]]:
        """Returns the outputs, and the states of all layers.

        Args:
            x: Tensor of shape `(batch, steps, features)`.
            states: The states to go on from, as returned; None to begin.
        """
        x, given, found = self.before(x), list(states or []), []
        for layer, drop in zip(self.layers, self.after, strict=True):
            start = None if states is None else [given.pop(0) for _ in layer.cell.state_size]
            x, *new = layer(x, initial_state=start)
            x = drop(x)
            found += new
        return x, found

    def state_inputs(self) -> list[keras.KerasTensor]:
        """Returns inputs for the states of all layers."""
        return [
            keras.Input((size,), dtype=layer.compute_dtype)
            for layer in self.layers
            for size in layer.cell.state_size
        ]


def start_of(stream: keras.Model, batch: int, inputs: int = 1) -> list[np.ndarray]:
    """Returns zeros for the states that a model takes after its first inputs."""
    return [np.zeros((batch, int(x.shape[-1])), x.dtype) for x in stream.inputs[inputs:]]


def optimizer(config: RecurrentConfig) -> keras.optimizers.Optimizer:
    """Returns Adam."""
    return keras.optimizers.Adam(config.learning_rate, global_clipnorm=config.clip or None)


def fitted(config: R, build: Callable[[R], keras.Model]) -> R:
    """Returns the configuration with the most units that its `parameters` allow."""
    if not config.parameters:
        return config

    def count(units: int) -> int:
        with keras.StatelessScope(initialize_variables=False):
            return trained(build(dataclasses.replace(config, units=units)))

    # No wider than need be: Keras initialises what was built here in the end.
    most = 1
    while count(most) <= config.parameters:
        most *= 2
    units = bisect.bisect_right(range(1, most), config.parameters, key=count)
    if not units:
        raise SystemExit(f"--parameters {config.parameters} is too few: {count(1)} are the least.")
    return dataclasses.replace(config, units=units)
