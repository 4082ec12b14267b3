"""The loops of recurrent layers, with given states and weights."""

import dataclasses
import functools
from collections.abc import Sequence

import keras

from keras_hyper.application.given import current, giving
from keras_hyper.application.installing import Method
from keras_hyper.application.scope import serving
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.weights.scopes import given, report


@dataclasses.dataclass(frozen=True)
class LoopRun:
    """The arguments and the final states of the loop of a recurrent layer."""

    sequences: Tensor
    initial_state: Tensors
    mask: Tensor | None
    states: Tensors


def loops_of(layers: Sequence[keras.layers.RNN]) -> list[Method]:
    """Returns methods that start from given states and report a `LoopRun`, for `installed`."""
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
    """Runs the loop of a recurrent layer with the weights that its cell is given."""
    own = list(current().of(layer.cell).values())
    if not own:
        return type(layer).inner_loop(layer, *args, **kwargs)
    if any(one.kernel.batched for one in own):
        # Fused implementations of the backend do not call the cell, but read its variables.
        return keras.layers.RNN.inner_loop(layer, *args, **kwargs)
    # The weights are written out once, before the loop.
    own = [one.materialized() for one in own]
    with giving(current().replace(own)), serving(layer, own):
        return type(layer).inner_loop(layer, *args, **kwargs)
