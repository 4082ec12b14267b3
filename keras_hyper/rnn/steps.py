"""The steps of recurrent cells, from pre-activations to new states. Pure functions."""

from typing import Any

from keras import ops


def simple_rnn_step(inputs: Any, hidden: Any, activation: Any) -> list[Any]:
    """Returns `[h']`, `h' = f(inputs + hidden)`."""
    return [activation(inputs + hidden)]


def lstm_step(
    inputs: Any,
    hidden: Any,
    carry: Any,
    activation: Any,
    recurrent_activation: Any,
    forget_bias: float,
    gate_norm: Any = None,
    carry_norm: Any = None,
    drop: Any = None,
) -> list[Any]:
    """Returns `[h', c']` from the pre-activations of the gates i, f, g, o.

    `c' = s(f + forget_bias) c + s(i) drop tanh(g)` and `h' = s(o) tanh(LN(c'))`,
    where i, f, g and o are normalised, too. The carried `c'` is not.

    Args:
        inputs: Tensor of shape `(batch, 4 units)`, what the inputs contribute.
        hidden: The same of the hidden state.
        carry: `c`, of shape `(batch, units)`.
        activation: tanh.
        recurrent_activation: s, the sigmoid.
        forget_bias: Added after the normalisation.
        gate_norm: None, or what normalises the pre-activations.
        carry_norm: None, or what normalises `c'` inside tanh.
        drop: None, or what the candidate is multiplied by.
    """
    gates = inputs + hidden
    if gate_norm is not None:
        gates = ops.cast(gate_norm(gates), gates.dtype)
    i, f, g, o = ops.split(gates, 4, axis=-1)
    if forget_bias:
        f = f + forget_bias
    candidate = activation(g) if drop is None else drop * activation(g)
    carry = recurrent_activation(f) * carry + recurrent_activation(i) * candidate
    inside = carry if carry_norm is None else ops.cast(carry_norm(carry), carry.dtype)
    return [recurrent_activation(o) * activation(inside), carry]


def gru_step(
    inputs: Any,
    hidden: Any,
    state: Any,
    activation: Any,
    recurrent_activation: Any,
    drop: Any = None,
) -> list[Any]:
    """Returns `[h']` from what inputs and state contribute to the gates z, r, g.

    `h' = s(z) h + (1 - s(z)) drop tanh(g_inputs + s(r) g_hidden)`, Keras's
    `GRU(reset_after=True)`.
    """
    inputs_z, inputs_r, inputs_g = ops.split(inputs, 3, axis=-1)
    hidden_z, hidden_r, hidden_g = ops.split(hidden, 3, axis=-1)
    z = recurrent_activation(inputs_z + hidden_z)
    r = recurrent_activation(inputs_r + hidden_r)
    candidate = activation(inputs_g + r * hidden_g)
    if drop is not None:
        candidate = drop * candidate
    return [z * state + (1 - z) * candidate]
