"""The loops of recurrent layers, with states and weights that are given."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.application.installing import Method
from keras_hyper.application.stock import all_given, call_with, given_of, giving
from keras_hyper.weights.scopes import given, report


@dataclasses.dataclass(frozen=True)
class LoopRun:
    """What a recurrent layer reports of a call.

    Attributes:
        sequences: What it was called with.
        initial_state: The states that it started with.
        mask: The mask, or None.
        states: The states at the end.
    """

    sequences: Any
    initial_state: Any
    mask: Any
    states: Any


def loops_of(layers: Sequence[keras.layers.RNN]) -> list[Method]:
    """Returns what `installed` sets on recurrent layers, which then ask and report.

    Args:
        layers: The layers.
    """
    return [(layer, "inner_loop", functools.partial(_inner_loop, layer)) for layer in layers]


def _inner_loop(
    layer: Any, sequences: Any, initial_state: Any, mask: Any, training: Any = False
) -> tuple[Any, Any, Any]:
    states = given(layer)
    if states is not None:
        initial_state = keras.tree.pack_sequence_as(initial_state, states)
    result: tuple[Any, Any, Any] = _run(layer, sequences, initial_state, mask, training=training)
    report(layer, LoopRun(sequences, initial_state, mask, result[2]))
    return result


def _run(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Runs the loop of a recurrent layer with what its cell is given.

    Weights that differ between samples go around the fused implementation of the backend,
    which takes the variables of the cell, whatever its `call` does.
    """
    given = given_of(layer.cell)
    if given is None:
        return type(layer).inner_loop(layer, *args, **kwargs)
    if given.batched:
        return keras.layers.RNN.inner_loop(layer, *args, **kwargs)
    rest = {key: value for key, value in all_given().items() if key != id(layer.cell)}
    whole = dataclasses.replace(given, every=list(layer.variables))
    values = {name: kernel.materialize() for name, kernel in given.generated.items()}
    with giving({**rest, id(layer): whole}):
        return call_with(layer, values, args, kwargs, "inner_loop")
