"""What the weights of a recurrent hypernetwork do along a sequence."""

import dataclasses

import keras
from keras import ops

from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import numeric


@dataclasses.dataclass(frozen=True)
class WeightRecord:
    """What `record_weights` found, for every step of every sequence.

    Attributes:
        states: All states, in the order of the cell, each of shape
            `(batch, steps, width)`.
        scales: For `"recurrent_kernel"` and `"kernel"` the generated scales `d`, of shape
            `(batch, steps, gates, units)`. Empty without scales: for a cell without a
            hyper cell, and for `form="full"`.
        changes: For `"recurrent_kernel"`, `"kernel"` and `"bias"` how far the weights of
            each gate are from those of the step before, of shape
            `(batch, steps, gates)`: the Frobenius norm of the difference. The first
            step has no step before it, and a zero. Empty without a hyper cell.
        saturation: `tanh(c)` of shape `(batch, steps, units)`, as it is multiplied by
            the output gate, so after normalization where there is one; None for a cell
            without `c`.
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
    r"""Returns what the weights of a recurrent layer do along sequences.

    The change of a matrix with scaled rows is
    `||(d(t) - d(t - 1)) W||_F = sqrt(sum_r (d_r(t) - d_r(t - 1))^2 ||W_r||^2)`, that of a
    sum of matrices `||<W, z(t) - z(t - 1)>||_F`. Ha, Dai & Le draw both in figures 4 and 7,
    and `tanh(c)` in figure 5.

    The layer is used as in inference, and nothing of it changes: a stateful layer
    keeps its states, and is recorded from zeros. With `go_backwards`, steps are in the
    order in which they are taken.

    Args:
        layer: A built `HyperLSTM`, `HyperGRU`, `HyperSimpleRNN` or `LayerNormLSTM`.
        sequences: Tensor of shape `(batch, steps, features)`: what the layer is called with.
        initial_state: None, or the states to start with.
        mask: None, or Booleans of shape `(batch, steps)`.

    Returns:
        A `WeightRecord`.

    Raises:
        TypeError: If the layer is none of these, or the sequences are no numbers.
        ValueError: If the layer is not built, or does not fit the sequences.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, section 4.3 and figures 4, 5 and 7.

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
    if not layer.built:
        raise ValueError(f"Layer '{layer.name}' has no weights yet: call it on a sequence first.")
    cell = layer.cell
    sequences = numeric("sequences", sequences)
    width = cell.kernel.shape[0]
    if len(sequences.shape) != 3 or sequences.shape[-1] != width:
        raise ValueError(
            f"`sequences` must be of shape (batch, steps, {width}), what layer '{layer.name}' is "
            f"called with. Received: sequences of shape {tuple(sequences.shape)}"
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
        # The norm of a sum of matrices, from the products of each two of them.
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
    """Returns each step less the one before it, and zeros for the first."""
    return ops.concatenate([ops.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], axis=1)
