"""The cells in Keras's loops, and the layers against them."""

import keras
import numpy as np
import pytest

from helpers import JIT, compiled, outputs_and_gradients, shake, to_numpy
from keras_hyper import (
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    HyperSimpleRNN,
    HyperSimpleRNNCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
)

SMALL = {"hyper_units": 4, "embedding_dim": 2}
LAYERS = {
    "lstm": (HyperLSTM, HyperLSTMCell, SMALL),
    "lstm-norm": (HyperLSTM, HyperLSTMCell, {**SMALL, "layer_norm": True}),
    "gru": (HyperGRU, HyperGRUCell, SMALL),
    "rnn": (HyperSimpleRNN, HyperSimpleRNNCell, SMALL),
    "rnn-full": (HyperSimpleRNN, HyperSimpleRNNCell, {**SMALL, "form": "full"}),
    "layer-norm-lstm": (LayerNormLSTM, LayerNormLSTMCell, {}),
}
over_layers = pytest.mark.parametrize("case", LAYERS)
ALL = {"return_sequences": True, "return_state": True}
MASK = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], dtype=bool)


def make(case, rng, width=3, **kwargs):
    """Returns a built layer with weights away from where they start."""
    cls, _, arguments = LAYERS[case]
    layer = cls(5, **arguments, **kwargs)
    layer.build((2, 5, width))
    shake(layer, rng)
    return layer


def data(rng, steps=5):
    return rng.normal(size=(2, steps, 3)).astype("float32")


SWITCHES = {
    "plain": ({}, None),
    "masked": ({}, MASK),
    "backwards": ({"go_backwards": True}, MASK),
    "zeros": ({"zero_output_for_mask": True}, MASK),
    "unrolled": ({"unroll": True}, MASK),
}


# The switches are the loop's, whatever the cell.
@pytest.mark.parametrize(
    ("case", "switch"),
    [(case, "plain") for case in LAYERS]
    + [(case, switch) for case in ("lstm", "gru") for switch in SWITCHES if switch != "plain"],
)
def test_a_layer_is_its_cell_in_a_loop(case, switch, rng):
    """Outputs, states and gradients, with weights that go from one into the other."""
    switches, mask = SWITCHES[switch]
    x = data(np.random.default_rng(1))
    if switch == "unrolled":  # A long program, for every step.
        x, mask = x[:, :3], mask[:, :3]
    _, cell, arguments = LAYERS[case]
    layer = make(case, rng, **ALL, **switches)
    loop = keras.layers.RNN(cell(5, **arguments), **ALL, **switches)
    loop.build(x.shape)
    loop.set_weights(layer.get_weights())

    def loss_of(layer):
        def loss(x):
            outputs = layer(x, mask=mask)
            return sum(keras.ops.sum(o * o * o) for o in outputs), outputs

        return outputs_and_gradients(loss, layer, x)

    (ours, our_slopes), (theirs, their_slopes) = loss_of(layer), loss_of(loop)
    for a, b in zip([*ours, *our_slopes], [*theirs, *their_slopes], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@over_layers
def test_masked_steps_leave_every_state_unchanged(case, rng):
    layer = make(case, rng, **ALL)
    x = data(rng)
    masked = to_numpy(compiled(layer, layer)(x, mask=MASK))
    for b in range(2):
        alone = to_numpy(layer(x[b : b + 1, MASK[b]]))
        np.testing.assert_allclose(masked[0][b, MASK[b]], alone[0][0], rtol=1e-4, atol=1e-6)
        for state, expected in zip(masked[1:], alone[1:], strict=True):
            np.testing.assert_allclose(state[b : b + 1], expected, rtol=1e-4, atol=1e-6)


@over_layers
def test_states_go_on_where_they_were_left(case, rng):
    layer = make(case, rng, **ALL)
    x = data(rng)
    whole = to_numpy(layer(x))
    first, *states = layer(x[:, :3])
    second, *states = layer(x[:, 3:], initial_state=states)
    outputs = np.concatenate([to_numpy(first), to_numpy(second)], axis=1)
    for a, b in zip([outputs, *to_numpy(states)], whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@over_layers
def test_a_stateful_layer_remembers_and_forgets(case, rng):
    layer = make(case, rng, return_sequences=True, stateful=True)
    plain = make(case, rng, return_sequences=True)
    plain.set_weights([v.numpy() for v in layer.trainable_variables])
    x = data(rng)
    whole = to_numpy(plain(x))
    np.testing.assert_allclose(to_numpy(layer(x[:, :3])), whole[:, :3], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(to_numpy(layer(x[:, 3:])), whole[:, 3:], rtol=1e-4, atol=1e-6)
    layer.reset_state()
    np.testing.assert_allclose(to_numpy(layer(x[:, :3])), whole[:, :3], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("case", "layer_or_cell"), [*((case, "layer") for case in LAYERS), ("lstm-norm", "cell")]
)
def test_both_directions_and_any_batch_and_length(case, layer_or_cell, rng):
    cls, cell, arguments = LAYERS[case]
    if layer_or_cell == "layer":
        layer = cls(5, **arguments, return_sequences=True)
    else:
        layer = keras.layers.RNN(cell(5, **arguments), return_sequences=True)
    inputs = keras.Input((None, 3))
    both = keras.layers.Bidirectional(layer)
    model = keras.Model(inputs, both(keras.layers.Masking()(inputs)))
    assert model.output.shape == (None, None, 10)
    shake(model, rng)
    # The loop is the same for all; JAX would compile every operation for itself.
    jit = case == "lstm-norm" or keras.backend.backend() == "jax"
    model.compile(jit_compile=JIT and jit and layer_or_cell == "layer")
    for steps in (3, 5):
        x = data(rng, steps)
        x[0, steps - 1] = 0  # Masked.
        mask = np.ones((2, steps), bool)
        mask[0, steps - 1] = False
        forward, backward = (
            to_numpy(part(x, mask=mask)) for part in (both.forward_layer, both.backward_layer)
        )
        expected = np.concatenate([forward, backward[:, ::-1]], axis=-1)
        outputs = model.predict(x, verbose=0)
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@over_layers
def test_cells_can_be_stacked(case, rng):
    _, cell, arguments = LAYERS[case]
    cells = [cell(5, **arguments), cell(4, **arguments)]
    stacked = keras.layers.RNN(keras.layers.StackedRNNCells(cells), return_sequences=True)
    x = data(rng)
    stacked.build(x.shape)
    shake(stacked, rng)
    one, two = (keras.layers.RNN(c, return_sequences=True) for c in cells)
    outputs = to_numpy(compiled(stacked, stacked)(x))
    expected = to_numpy(compiled(lambda x: two(one(x)), stacked)(x))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-6)


@over_layers
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_two_thousand_steps_stay_finite(case, policy, rng):
    keras.config.set_dtype_policy(policy)
    steps = 2000 if JIT else 200  # PyTorch's loop is one in Python.
    cls, _, arguments = LAYERS[case]
    inputs = keras.Input((steps, 3))
    model = keras.Model(inputs, cls(5, **arguments, return_sequences=True)(inputs))
    shake(model, rng)
    x = np.zeros((4, steps, 3), "float32")
    x[1], x[2], x[3] = 1, 1e4, 1e4 * rng.normal(size=(steps, 3))
    model.compile(jit_compile=JIT)
    outputs = model.predict(x, verbose=0).astype("float32")
    assert np.isfinite(outputs).all()
    assert np.abs(outputs).max() <= 1
    # Not for having stopped: inputs that change still change the outputs.
    assert outputs[3, -50:].std(axis=0).max() > 0.01


@pytest.mark.export
@over_layers
def test_export_has_a_free_batch_and_length(case, rng, tmp_path):
    import tensorflow as tf

    cls, _, arguments = LAYERS[case]
    model = keras.Sequential([keras.Input((None, 3)), cls(5, **arguments)])
    shake(model, rng)
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    for batch, steps in ((1, 2), (3, 7)):
        x = rng.normal(size=(batch, steps, 3)).astype("float32")
        np.testing.assert_allclose(
            to_numpy(served.serve(x)), to_numpy(model(x)), rtol=1e-4, atol=1e-6
        )
