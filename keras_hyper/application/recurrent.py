"""The cells of LSTM, GRU and SimpleRNN with given weights."""

from collections.abc import Mapping

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor, Tensors

Weights = Mapping[str, Kernel]


def lstm_cell(
    layer: keras.Layer,
    weights: Weights,
    inputs: Tensor,
    states: Tensors,
    training: bool | None = False,
) -> tuple[Tensor, list[Tensor]]:
    """Returns the output and the states of an `LSTMCell` after a step."""
    hidden, carry = states
    sums = _gates(weights["kernel"], inputs, _input_masks(layer, inputs, training), 4)
    more = _gates(weights["recurrent_kernel"], hidden, _state_masks(layer, hidden, training), 4)
    if "bias" in weights:
        biases = ops.split(_row(weights["bias"], inputs), 4, axis=-1)
        sums = [x + b for x, b in zip(sums, biases, strict=True)]
    i, f, c, o = (x + h for x, h in zip(sums, more, strict=True))
    gate = layer.recurrent_activation
    carry = gate(f) * carry + gate(i) * layer.activation(c)
    hidden = gate(o) * layer.activation(carry)
    return hidden, [hidden, carry]


def gru_cell(
    layer: keras.Layer,
    weights: Weights,
    inputs: Tensor,
    states: Tensors,
    training: bool | None = False,
) -> tuple[Tensor, Tensors]:
    """Returns the output and the state of a `GRUCell` after a step."""
    nested = isinstance(states, list | tuple)
    hidden = states[0] if nested else states
    recurrent = weights["recurrent_kernel"]
    x = _gates(weights["kernel"], inputs, _input_masks(layer, inputs, training), 3)
    masks = _state_masks(layer, hidden, training)
    h = _gates(recurrent, hidden, masks, 3)
    if "bias" in weights:
        bias = _row(weights["bias"], inputs)
        into, inside = (bias[..., 0, :], bias[..., 1, :]) if layer.reset_after else (bias, None)
        x = [a + b for a, b in zip(x, ops.split(into, 3, axis=-1), strict=True)]
        if inside is not None:
            h = [a + b for a, b in zip(h, ops.split(inside, 3, axis=-1), strict=True)]
    update, reset = (layer.recurrent_activation(x[i] + h[i]) for i in (0, 1))
    if layer.reset_after:
        candidate = reset * h[2]
    else:
        masked = hidden if masks is None else hidden * masks[2]
        candidate = _gates(recurrent, reset * masked, None, 3)[2]
    output = update * hidden + (1 - update) * layer.activation(x[2] + candidate)
    return output, [output] if nested else output


def simple_rnn_cell(
    layer: keras.Layer,
    weights: Weights,
    inputs: Tensor,
    states: Tensors,
    training: bool | None = False,
) -> tuple[Tensor, Tensors]:
    """Returns the output and the state of a `SimpleRNNCell` after a step."""
    nested = isinstance(states, list | tuple)
    hidden = states[0] if nested else states
    (output,) = _gates(weights["kernel"], inputs, _input_masks(layer, inputs, training), 1)
    (more,) = _gates(weights["recurrent_kernel"], hidden, _state_masks(layer, hidden, training), 1)
    if "bias" in weights:
        output = output + _row(weights["bias"], inputs)
    output = output + more
    if layer.activation is not None:
        output = layer.activation(output)
    return output, [output] if nested else output


def _input_masks(layer: keras.Layer, inputs: Tensor, training: bool | None) -> Tensors:
    """Returns the dropout mask of the inputs, or one for each gate, or None."""
    return layer.get_dropout_mask(inputs) if training and layer.dropout else None


def _state_masks(layer: keras.Layer, hidden: Tensor, training: bool | None) -> Tensors:
    """Returns the dropout mask of the state, or one for each gate, or None."""
    return (
        layer.get_recurrent_dropout_mask(hidden) if training and layer.recurrent_dropout else None
    )


def _gates(kernel: Kernel, inputs: Tensor, masks: Tensors, count: int) -> list[Tensor]:
    """Returns the products of masked inputs with the parts of a kernel, one for each gate."""
    if isinstance(masks, list | tuple):
        every = [_gates(kernel, inputs * mask, None, count) for mask in masks]
        return [products[gate] for gate, products in enumerate(every)]
    products = kernel.dense(inputs if masks is None else inputs * masks)
    return list(ops.split(products, count, axis=-1)) if count > 1 else [products]


def _row(bias: Kernel, inputs: Tensor) -> Tensor:
    """Returns a bias with a batch axis."""
    value = bias.materialize()
    value = value if bias.batched else value[None]
    return ops.cast(value, inputs.dtype)
