"""Weights of recurrent hypernetworks along sequences."""

import dataclasses

import keras
from keras import ops

from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import check_built, numeric


@dataclasses.dataclass(frozen=True)
class WeightRecord:
    """States and weights of a recurrent layer at every step of every sequence.

    Attributes:
        states: The states in the order of the cell, each of shape `(batch, steps, width)`.
        scales: Generated scales `d` of `"recurrent_kernel"` and `"kernel"`, of shape
            `(batch, steps, gates, units)`. Empty for cells without scales: cells without a hyper
            cell, and `form="full"`.
        changes: Changes of `"recurrent_kernel"`, `"kernel"` and `"bias"` since the previous step,
            of shape `(batch, steps, gates)`: the Frobenius norm of the difference for each gate,
            and zero at the first step. Empty for cells without a hyper cell.
        saturation: `tanh(c)` after any normalization, of shape `(batch, steps, units)`. None for
            cells without a memory `c`.
        gate_names: Names of the gates.
    """

    states: list[Tensor]
    scales: dict[str, Tensor]
    changes: dict[str, Tensor]
    saturation: Tensor | None
    gate_names: tuple[str, ...]


def record_weights(
    layer: RecurrentLayer,
    sequences: Tensor,
    initial_state: list[Tensor] | None = None,
    mask: Tensor | None = None,
) -> WeightRecord:
    r"""Records the states and weights of a recurrent layer along sequences.

    The change of a matrix `W` with scaled rows is
    `||(d(t) - d(t - 1)) W||_F = sqrt(sum_r (d_r(t) - d_r(t - 1))^2 ||W_r||^2)`. The change of a
    sum of matrices is `||<W, z(t) - z(t - 1)>||_F`. Ha, Dai & Le ("HyperNetworks", ICLR 2017) plot
    both in figures 4 and 7, and `tanh(c)` in figure 5.

    The layer runs in inference and does not change: a stateful layer keeps its states, and its
    record starts at zero states. With `go_backwards`, steps are in the order of the computation.

    Args:
        layer: A built `HyperLSTM`, `HyperGRU`, `HyperSimpleRNN` or `LayerNormLSTM`.
        sequences: Inputs of the layer, of shape `(batch, steps, features)`.
        initial_state: List of initial states. Defaults to zeros.
        mask: Boolean tensor of shape `(batch, steps)`, or None.

    Returns:
        A `WeightRecord`.

    Raises:
        TypeError: If `layer` is of another class, or `sequences` is not numeric.
        ValueError: If the layer is not built, or does not fit the sequences.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperLSTM, record_weights
        >>> layer = HyperLSTM(8, hyper_units=4)
        >>> x = keras.random.normal((2, 5, 3))
        >>> y = layer(x)
        >>> record = record_weights(layer, x)
        >>> tuple(record.scales["recurrent_kernel"].shape)
        (2, 5, 4, 8)
        >>> tuple(record.changes["recurrent_kernel"].shape)
        (2, 5, 4)
    """
    if not isinstance(layer, RecurrentLayer):
        raise TypeError(
            "`layer` must be a HyperLSTM, HyperGRU, HyperSimpleRNN or LayerNormLSTM layer. "
            f"Received: layer={layer!r}"
        )
    check_built(layer)
    cell = layer.cell
    sequences = numeric("sequences", sequences)
    width = cell.kernel.shape[0]
    if len(sequences.shape) != 3 or sequences.shape[-1] != width:
        raise ValueError(
            f"`sequences` must be of shape (batch, steps, {width}), as for layer '{layer.name}'. "
            f"Received: sequences of shape {tuple(sequences.shape)}"
        )
    if initial_state is not None:
        initial_state = [ops.cast(state, cell.compute_dtype) for state in initial_state]
    if mask is not None:
        mask = ops.cast(mask, "bool")
    states = layer.states_of(sequences, initial_state, mask)
    state = dict(zip(cell.state_names, states, strict=True))
    saturation = _saturation(cell, state["c"]) if "c" in state else None
    scales: dict[str, Tensor] = {}
    changes: dict[str, Tensor] = {}
    if "hyper_h" in state:
        hyper_output = state["hyper_h"]
        if cell.scaled:
            scales = _scales(cell, hyper_output)
            changes = {name: _rows_change(cell, name, scale) for name, scale in scales.items()}
        else:
            changes = _sums_change(cell, hyper_output)
        if cell.use_bias:
            changes["bias"] = _bias_change(cell, hyper_output)
    return WeightRecord(states, scales, changes, saturation, tuple(cell.gate_names))


def _saturation(cell: keras.layers.Layer, carry: Tensor) -> Tensor:
    shape = ops.shape(carry)
    carry = ops.reshape(carry, (-1, cell.units))
    inside = carry if cell.carry_norm is None else cell.carry_norm(carry)
    return ops.reshape(cell.activation(inside), shape)


def _scales(cell: keras.layers.Layer, hyper_output: Tensor) -> dict[str, Tensor]:
    batch, steps, width = ops.shape(hyper_output)
    scales = cell.scales(ops.reshape(hyper_output, (-1, width)))
    scales = ops.reshape(scales, (batch, steps, 2, cell.gates, cell.units))
    return {"recurrent_kernel": scales[:, :, 0], "kernel": scales[:, :, 1]}


def _rows_change(cell: keras.layers.Layer, name: str, scales: Tensor) -> Tensor:
    matrix = ops.cast(getattr(cell, name), scales.dtype)
    rows = ops.sum(ops.square(matrix), axis=0)
    rows = ops.reshape(rows, (cell.gates, cell.units))
    return ops.sqrt(ops.sum(ops.square(_differences(scales)) * rows, axis=-1))


def _sums_change(cell: keras.layers.Layer, hyper_output: Tensor) -> dict[str, Tensor]:
    dim = cell.embedding_dim
    z = _differences(hyper_output) @ ops.cast(cell.embedding_kernel, hyper_output.dtype)
    changes = {}
    for name, part in (("recurrent_kernel", z[..., :dim]), ("kernel", z[..., dim:])):
        matrices = ops.cast(getattr(cell, name), z.dtype)
        matrices = ops.reshape(matrices, (matrices.shape[0], dim, cell.units))
        # The squared norm of a sum of matrices is a sum of products of two matrices each.
        products = ops.einsum("iku,ilu->kl", matrices, matrices)
        square = ops.sum(part * (part @ products), axis=-1, keepdims=True)
        changes[name] = ops.sqrt(ops.maximum(square, 0))
    return changes


def _bias_change(cell: keras.layers.Layer, hyper_output: Tensor) -> Tensor:
    z = _differences(hyper_output) @ ops.cast(cell.bias_embedding_kernel, hyper_output.dtype)
    z = ops.reshape(z, (*ops.shape(z)[:2], cell.gates, cell.embedding_dim))
    change = ops.einsum("btgk,gku->btgu", z, ops.cast(cell.bias_scale_kernel, z.dtype))
    return ops.sqrt(ops.sum(ops.square(change), axis=-1))


def _differences(x: Tensor) -> Tensor:
    """Returns the difference of each step from the previous one, and zeros for the first."""
    return ops.concatenate([ops.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], axis=1)
