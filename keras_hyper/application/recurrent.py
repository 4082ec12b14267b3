"""Recurrent layers with given weights: the cells of Keras, and the loops of all layers."""

import dataclasses
import functools
from collections.abc import Sequence

import keras
from keras import ops

from keras_hyper.application.bias import Weights
from keras_hyper.application.given import current, giving
from keras_hyper.application.installing import Method
from keras_hyper.application.scope import serving
from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.weights.scopes import given, report


def lstm_cell(
    layer: keras.Layer, weights: Weights, inputs: Tensor, states: Tensors, training: bool = False
) -> tuple[Tensor, Tensors]:
    """Returns the output and the states of an `LSTMCell` after one step."""
    hidden, carry = states
    into, inside, _ = _products(layer, weights, inputs, hidden, training, 4)
    i, f, c, o = (x + h for x, h in zip(into, inside, strict=True))
    gate = layer.recurrent_activation
    carry = gate(f) * carry + gate(i) * layer.activation(c)
    hidden = gate(o) * layer.activation(carry)
    return hidden, [hidden, carry]


def gru_cell(
    layer: keras.Layer, weights: Weights, inputs: Tensor, states: Tensors, training: bool = False
) -> tuple[Tensor, Tensors]:
    """Returns the output and the state of a `GRUCell` after one step."""
    nested = isinstance(states, list | tuple)
    hidden = states[0] if nested else states
    x, h, masks = _products(layer, weights, inputs, hidden, training, 3)
    update, reset = (layer.recurrent_activation(x[i] + h[i]) for i in (0, 1))
    if layer.reset_after:
        candidate = reset * h[2]
    else:
        masked = hidden if masks is None else hidden * masks[2]
        candidate = _gates(weights["recurrent_kernel"], reset * masked, None, 3)[2]
    output = update * hidden + (1 - update) * layer.activation(x[2] + candidate)
    return output, [output] if nested else output


def simple_rnn_cell(
    layer: keras.Layer, weights: Weights, inputs: Tensor, states: Tensors, training: bool = False
) -> tuple[Tensor, Tensors]:
    """Returns the output and the state of a `SimpleRNNCell` after one step."""
    nested = isinstance(states, list | tuple)
    hidden = states[0] if nested else states
    (x,), (h,), _ = _products(layer, weights, inputs, hidden, training, 1)
    output = x + h if layer.activation is None else layer.activation(x + h)
    return output, [output] if nested else output


def _products(
    layer: keras.Layer, weights: Weights, inputs: Tensor, hidden: Tensor, training: bool, count: int
) -> tuple[list[Tensor], list[Tensor], Tensors]:
    """Returns the products of inputs and states for each gate, and the dropout masks of the states.

    The products include the biases. A `GRUCell` with `reset_after` has a second bias, for states.
    """
    dropped, state_dropped = training and layer.dropout, training and layer.recurrent_dropout
    masks = layer.get_dropout_mask(inputs) if dropped else None
    state_masks = layer.get_recurrent_dropout_mask(hidden) if state_dropped else None
    into = _gates(weights["kernel"], inputs, masks, count)
    inside = _gates(weights["recurrent_kernel"], hidden, state_masks, count)
    if "bias" in weights:
        bias = weights["bias"]
        value = ops.cast(bias.materialize(), inputs.dtype)
        value = value if bias.batched else value[None]
        two = len(bias.shape) == 2
        into = _added(into, value[:, 0] if two else value)
        inside = _added(inside, value[:, 1]) if two else inside
    return into, inside, state_masks


def _added(products: list[Tensor], bias: Tensor) -> list[Tensor]:
    return [x + b for x, b in zip(products, ops.split(bias, len(products), axis=-1), strict=True)]


def _gates(kernel: Kernel, inputs: Tensor, masks: Tensors, count: int) -> list[Tensor]:
    """Returns the products of the masked inputs with a kernel, one for each gate."""
    if isinstance(masks, list | tuple):
        every = [_gates(kernel, inputs * mask, None, count) for mask in masks]
        return [products[gate] for gate, products in enumerate(every)]
    products = kernel.dense(inputs if masks is None else inputs * masks)
    return list(ops.split(products, count, axis=-1)) if count > 1 else [products]


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
