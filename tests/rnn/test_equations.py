"""The cells against their equations, and what follows from the first weights."""

import itertools

import keras
import numpy as np
import pytest

from helpers import gradients, shake, to_numpy
from keras_hyper import (
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    HyperSimpleRNNCell,
    LayerNormLSTMCell,
)
from reference import recurrent

SMALL = {"hyper_units": 4, "embedding_dim": 2}
CELLS = {
    "lstm": (HyperLSTMCell, SMALL, recurrent.hyper_lstm),
    "lstm-norm": (HyperLSTMCell, {**SMALL, "layer_norm": True}, recurrent.hyper_lstm),
    "lstm-no-bias": (HyperLSTMCell, {**SMALL, "use_bias": False}, recurrent.hyper_lstm),
    "gru": (HyperGRUCell, SMALL, recurrent.hyper_gru),
    "rnn": (HyperSimpleRNNCell, SMALL, recurrent.hyper_simple_rnn),
    "rnn-full": (
        HyperSimpleRNNCell,
        {**SMALL, "form": "full"},
        recurrent.full_hyper_simple_rnn,
    ),
    "layer-norm-lstm": (LayerNormLSTMCell, {}, recurrent.layer_norm_lstm),
    "layer-norm-lstm-bias": (LayerNormLSTMCell, {"use_bias": True}, recurrent.layer_norm_lstm),
    "plain-lstm": (
        LayerNormLSTMCell,
        {"use_bias": True, "layer_norm": False},
        recurrent.layer_norm_lstm,
    ),
}
over_cells = pytest.mark.parametrize("case", CELLS)


def exact_tanh(x):
    """Keras's own rounds float64 to float32 on JAX."""
    return 2 * keras.ops.sigmoid(2 * x) - 1


def shaken(cell, rng, width=3):
    """Builds a cell and moves every weight from where it starts."""
    cell.build((None, width))
    shake(cell, rng)
    return cell


@over_cells
def test_a_sequence_equals_the_equations(case, rng):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    cls, arguments, equations = CELLS[case]
    cell = shaken(cls(5, **arguments, activation=exact_tanh), rng)
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    x = rng.normal(size=(2, 6, 3))
    first = [rng.normal(size=(2, size)) for size in cell.state_size]
    outputs, *states = to_numpy(layer(x, initial_state=first))
    weights = recurrent.weights_of(cell)
    for b in range(2):
        expected = [state[b] for state in first]
        for t in range(6):
            expected = equations(weights, x[b, t], expected)
            np.testing.assert_allclose(outputs[b, t], expected[0], rtol=1e-12, atol=1e-12)
        for state, last in zip(states, expected, strict=True):
            np.testing.assert_allclose(state[b], last, rtol=1e-12, atol=1e-12)


def test_the_full_form_is_the_scaled_one_where_its_matrices_are_scaled_rows(rng):
    """Equation (7) is equation (5) with `W_k = diag(S[:, k]) W`."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    scaled = shaken(HyperSimpleRNNCell(5, **SMALL), rng)
    full = HyperSimpleRNNCell(5, **SMALL, form="full")
    full.build((None, 3))
    values = {v.name: v.numpy() for v in scaled.weights}
    for n, name in enumerate(("recurrent_kernel", "kernel")):
        rows = values["scale_kernel"][n]
        values[name] = np.concatenate([values[name] * row for row in rows], axis=1)
    for v in full.weights:
        v.assign(values[v.name])
    x, states = rng.normal(size=(2, 3)), [rng.normal(size=(2, 5)), rng.normal(size=(2, 4))]
    for a, b in zip(to_numpy(scaled(x, states)[1]), to_numpy(full(x, states)[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "width", "count"),
    [
        (HyperLSTMCell(5, 4, 2), 3, 620),
        (HyperLSTMCell(5, 4, 2, layer_norm=True), 3, 710),
        (HyperLSTMCell(1000, 128, 4), 50, 4_861_824),
        (HyperLSTMCell(1000, 128, 4, layer_norm=True), 50, 4_873_104),
    ],
)
def test_counts_of_the_cells(cell, width, count):
    assert cell_count(cell, width) == count


def cell_count(cell, width):
    """Counts without drawing a million numbers."""
    with keras.StatelessScope(initialize_variables=False):
        cell.build((None, width))
    return sum(int(np.prod(v.shape)) for v in cell.weights)


@pytest.mark.parametrize(
    ("cell", "count"),
    [
        (lambda: keras.layers.LSTMCell(1000), 4_254_050),
        (lambda: HyperLSTMCell(1000), 4_911_874),
        (lambda: HyperLSTMCell(1000, layer_norm=True), 4_923_154),
        (lambda: LayerNormLSTMCell(1000), 4_260_050),
    ],
    ids=["lstm", "hyper", "hyper-norm", "norm"],
)
def test_counts_of_the_papers_table_3(cell, count):
    """A one-hot input of 50 and a dense output of 50."""
    assert cell_count(cell(), 50) + 1000 * 50 + 50 == count


@pytest.mark.parametrize("layer_norm", [False, True])
def test_at_the_start_it_is_an_lstm_with_a_tenth_of_the_weights(layer_norm, rng):
    hyper = HyperLSTMCell(5, **SMALL, layer_norm=layer_norm)
    hyper.build((None, 3))
    plain = LayerNormLSTMCell(5, layer_norm=layer_norm, use_bias=True)
    plain.build((None, 3))
    plain.kernel.assign(0.1 * hyper.kernel.numpy())
    plain.recurrent_kernel.assign(0.1 * hyper.recurrent_kernel.numpy())
    x = 10 * rng.normal(size=(2, 6, 3)).astype("float32")
    outputs = [to_numpy(keras.layers.RNN(c, return_sequences=True)(x)) for c in (hyper, plain)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("initialization", ["paper", "supercell", "distinct"])
def test_every_scale_starts_at_a_tenth(case, initialization, rng):
    cls, arguments, _ = CELLS[case]
    cell = cls(5, **arguments, initialization=initialization)
    cell.build((None, 3))
    scales = to_numpy(cell.scales(keras.ops.convert_to_tensor(rng.normal(size=(2, 4)), "float32")))
    assert scales.shape == (2, 2 * cell.gates * 5)
    np.testing.assert_allclose(scales, 0.1, rtol=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_hyper_cell_has_no_gradient_at_step_0(layer_norm, rng):
    layer = HyperLSTM(5, **SMALL, layer_norm=layer_norm)
    x = rng.normal(size=(2, 6, 3)).astype("float32")
    layer.build(x.shape)
    found = gradients(lambda x: keras.ops.sum(layer(x) ** 2), layer, x)
    for v, gradient in zip(layer.trainable_variables, found, strict=False):
        still = "hyper_" in v.path.split("cell/")[-1] or v.name == "bias_embedding_kernel"
        assert bool(np.abs(gradient).max() == 0) is still, v.path


def test_the_papers_initialisation(rng):
    cell = HyperLSTMCell(8, hyper_units=4, embedding_dim=2)
    cell.build((None, 20))
    for weight in (cell.kernel, cell.recurrent_kernel):
        for gate in np.split(weight.numpy(), 4, axis=1):
            np.testing.assert_allclose(gate.T @ gate, np.eye(8), atol=1e-5)
    whole = np.concatenate([cell.hyper_state_kernel.numpy(), cell.hyper_kernel.numpy()])
    for gate in np.split(whole, 4, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(4), atol=1e-5)
    first, second = np.split(cell.kernel.numpy(), 4, axis=1)[:2]
    assert np.abs(first - second).max() > 0.1
    assert 0.005 < cell.bias_embedding_kernel.numpy().std() < 0.02


def test_the_full_form_of_one_matrix_stores_no_scales():
    cell = HyperSimpleRNNCell(5, hyper_units=4, embedding_dim=1, form="full")
    cell.build((None, 3))
    assert cell.scale_kernel is None
    assert cell.count_params() == 3 * 5 + 5 * 5 + 5 + (3 + 5 + 4 + 1) * 4 + 4 * 2 + 2 + 4 + 5


def test_the_full_form_starts_with_independent_matrices_a_tenth_as_large():
    cell = HyperSimpleRNNCell(40, hyper_units=4, embedding_dim=3, form="full")
    cell.build((None, 40))
    matrices = [
        matrix
        for weight in (cell.kernel, cell.recurrent_kernel)
        for matrix in np.split(weight.numpy(), 3, axis=1)
    ]
    for a, b in itertools.combinations(matrices, 2):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1
    # All `z` are 1: the sum is as large as a tenth of an orthogonal matrix.
    for mixed in (sum(matrices[:3]), sum(matrices[3:])):
        assert np.sqrt(np.mean(mixed**2)) == pytest.approx(0.1 / np.sqrt(40), rel=0.1)


@pytest.mark.parametrize(("initialization", "rank"), [("paper", 1), ("distinct", 3)])
def test_what_the_scales_can_do(initialization, rank, rng):
    """The first weights let all numbers of an embedding have one gradient, or each its own."""
    cell = HyperLSTMCell(8, hyper_units=6, embedding_dim=3, initialization=initialization)
    cell.build((None, 3))
    x = rng.normal(size=(4, 3)).astype("float32")
    states = [rng.normal(size=(4, n)).astype("float32") for n in cell.state_size]
    slopes = gradients(lambda x: keras.ops.sum(cell(x, states)[0] ** 2), cell, x)
    names = [v.name for v in cell.trainable_variables]
    slope = slopes[names.index("embedding_kernel")].reshape(6, 8, 3)
    for gate in range(8):
        values = np.linalg.svd(slope[:, gate], compute_uv=False)
        assert np.sum(values > 1e-4 * values[0]) == rank


def test_the_authors_initialisation():
    cell = HyperLSTMCell(100, hyper_units=60, initialization="supercell")
    cell.build((None, 20))
    limit = np.sqrt(6 / (20 + 400))
    assert 0.98 * limit < np.abs(cell.kernel.numpy()).max() <= limit
    limit = np.sqrt(6 / (120 + 240))
    for part in (cell.hyper_state_kernel, cell.hyper_kernel):
        assert 0.98 * limit < np.abs(part.numpy()).max() <= limit


def test_an_lstm_without_normalisation_is_keras_lstm(rng):
    """Neutral equals plain: with the forget bias moved into the bias."""
    ours = LayerNormLSTMCell(5, layer_norm=False, use_bias=True)
    shaken(ours, rng)
    stock = keras.layers.LSTMCell(5)
    stock.build((None, 3))
    bias = ours.bias.numpy()
    bias[5:10] += 1
    stock.set_weights([ours.kernel.numpy(), ours.recurrent_kernel.numpy(), bias])
    x = rng.normal(size=(2, 6, 3)).astype("float32")
    outputs = [to_numpy(keras.layers.RNN(c, return_sequences=True)(x)) for c in (ours, stock)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "stock"),
    [
        (HyperLSTMCell, lambda: keras.layers.LSTMCell(5, unit_forget_bias=False)),
        (HyperGRUCell, lambda: keras.layers.GRUCell(5)),
        (HyperSimpleRNNCell, lambda: keras.layers.SimpleRNNCell(5)),
    ],
)
def test_with_scales_of_one_it_is_the_stock_cell(cls, stock, rng):
    """Neutral equals plain, forward and in the gradients by the inputs."""
    arguments = {"unit_forget_bias": False} if cls is HyperLSTMCell else {}
    hyper, stock = cls(5, **SMALL, **arguments), stock()
    hyper.build((None, 3))
    stock.build((None, 3))
    hyper.scale_kernel.assign(np.full(hyper.scale_kernel.shape, 0.5))
    hyper.bias.assign(rng.normal(size=hyper.bias.shape))
    bias = hyper.bias.numpy()
    if cls is HyperGRUCell:  # Keras's second bias is absent here.
        bias = np.stack([bias, np.zeros_like(bias)])
    stock.set_weights([hyper.kernel.numpy(), hyper.recurrent_kernel.numpy(), bias])
    x = rng.normal(size=(2, 6, 3)).astype("float32")
    layers = [keras.layers.RNN(cell, return_sequences=True) for cell in (hyper, stock)]
    outputs = [to_numpy(layer(x)) for layer in layers]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)
    by_inputs = [gradients(lambda x, f=f: keras.ops.sum(f(x) ** 2), f, x)[-1] for f in layers]
    np.testing.assert_allclose(by_inputs[0], by_inputs[1], rtol=1e-4, atol=1e-5)
