"""The loops of recurrent layers, with states and weights that are given."""

import dataclasses
import functools
from collections.abc import Sequence

import keras

from keras_hyper.application.given import current, given_of, giving
from keras_hyper.application.installing import Method
from keras_hyper.application.scope import serving
from keras_hyper.typing import Tensor, Tensors
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

    sequences: Tensor
    initial_state: Tensors
    mask: Tensor | None
    states: Tensors


def loops_of(layers: Sequence[keras.layers.RNN]) -> list[Method]:
    """Returns what `installed` sets on recurrent layers, which then ask and report.

    Args:
        layers: The layers.
    """
    return [(layer, "inner_loop", functools.partial(_inner_loop, layer)) for layer in layers]


def _inner_loop(
    layer: keras.layers.RNN,
    sequences: Tensor,
    initial_state: Tensors,
    mask: Tensor | None,
    training: bool | None = False,
) -> Tensors:
    states = given(layer)
    if states is not None:
        initial_state = keras.tree.pack_sequence_as(initial_state, states)
    outputs = _run(layer, sequences, initial_state, mask, training=training)
    report(layer, LoopRun(sequences, initial_state, mask, outputs[2]))
    return outputs


def _run(layer: keras.layers.RNN, *args: Tensors, **kwargs: Tensors) -> Tensors:
    """Runs the loop of a recurrent layer with what its cell is given.

    Weights that differ between samples go around the fused implementation of the backend,
    which takes the variables of the cell, whatever its `call` does. Others are written out
    once, before the loop.
    """
    weights = given_of(layer.cell)
    if weights is None:
        return type(layer).inner_loop(layer, *args, **kwargs)
    if weights.batched:
        return keras.layers.RNN.inner_loop(layer, *args, **kwargs)
    weights = weights.materialized()
    with giving(current().replace({id(layer.cell): weights})), serving(layer, [weights]):
        return type(layer).inner_loop(layer, *args, **kwargs)
