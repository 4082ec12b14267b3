"""Recurrent dropout: of the candidate, fresh at every step; and dropout of the inputs."""

import keras
import numpy as np
import pytest

from helpers import JIT, shake, to_numpy
from keras_hyper import (
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
)
from keras_hyper.rnn import recurrent_layer
from reference import recurrent

BACKEND = keras.backend.backend()
RATE, UNITS, BATCH = 0.3, 50, 40
OURS = {"recurrent_dropout": RATE}
HYPER = {"hyper_recurrent_dropout": RATE, "hyper_units": UNITS}
# What is dropped from a state of zeros is zero in the state at this place.
CASES = {
    "lstm": (HyperLSTM, HyperLSTMCell, {**OURS, "hyper_units": 4}, 1),
    "lstm-hyper": (HyperLSTM, HyperLSTMCell, HYPER, 3),
    "gru": (HyperGRU, HyperGRUCell, {**OURS, "hyper_units": 4}, 0),
    "gru-hyper": (HyperGRU, HyperGRUCell, HYPER, 1),
    "layer-norm-lstm": (LayerNormLSTM, LayerNormLSTMCell, OURS, 1),
}


def make(case, layer_or_cell, **kwargs):
    cls, cell, arguments, place = CASES[case]
    if layer_or_cell == "layer":
        return cls(UNITS, **arguments, **kwargs, seed=3, return_state=True), place
    return keras.layers.RNN(cell(UNITS, **arguments, seed=3), **kwargs, return_state=True), place


not_on_jax = pytest.param(
    "cell", marks=pytest.mark.skipif(BACKEND == "jax", reason="refused, see below")
)
both = pytest.mark.parametrize("layer_or_cell", ["layer", not_on_jax])


@both
@pytest.mark.parametrize("case", CASES)
def test_a_number_is_dropped_at_the_rate_at_each_step_anew(case, layer_or_cell, rng):
    layer, place = make(case, layer_or_cell)
    x = rng.normal(size=(BATCH, 2, 3)).astype("float32")
    for steps in (1, 2):
        kept = to_numpy(layer(x[:, :steps]))[1 + place]
        assert np.all(kept != 0)
        dropped = to_numpy(layer(x[:, :steps], training=True))[1 + place]
        zeros = np.mean(dropped == 0)
        # A number is zero after two steps if both of them dropped it.
        expected = RATE**steps
        assert zeros == pytest.approx(expected, abs=4 * np.sqrt(expected / dropped.size))
    again = to_numpy(layer(x, training=True))[1 + place]
    assert np.mean((again == 0) == (dropped == 0)) < 0.95


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_is_scaled_up(case, rng):
    layer, place = make(case, "layer")
    x = rng.normal(size=(BATCH, 1, 3)).astype("float32")
    kept, dropped = (to_numpy(layer(x, training=t))[1 + place] for t in (False, True))
    expected = np.where(dropped == 0, 0, kept / (1 - RATE))
    np.testing.assert_allclose(dropped, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_a_seed_repeats_the_masks(case, rng):
    x = rng.normal(size=(BATCH, 2, 3)).astype("float32")
    patterns = [
        to_numpy(layer(x, training=True))[1 + place] == 0
        for layer, place in (make(case, "layer"), make(case, "layer"))
    ]
    np.testing.assert_array_equal(*patterns)


def test_the_masked_candidate_goes_through_the_equations(rng):
    """Both masks, in their places, over several steps."""
    layer = HyperLSTM(
        5,
        hyper_units=4,
        embedding_dim=2,
        recurrent_dropout=0.4,
        hyper_recurrent_dropout=0.2,
        seed=1,
    )
    x = rng.normal(size=(2, 6, 3)).astype("float32")
    layer.build(x.shape)
    shake(layer, rng)
    masks = []
    original = recurrent_layer.dropout_mask

    def spy(*args, **kwargs):
        masks.append(original(*args, **kwargs))
        return masks[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_layer, "dropout_mask", spy)
        outputs = to_numpy(layer(x, training=True))
    masks = to_numpy(masks)
    assert [m.shape for m in masks] == [(2, 6, 5), (2, 6, 4)]
    weights = recurrent.weights_of(layer.cell)
    for b in range(2):
        states = [np.zeros(n) for n in (5, 5, 4, 4)]
        for t in range(6):
            states = recurrent.hyper_lstm(weights, x[b, t], states, [m[b, t] for m in masks])
        np.testing.assert_allclose(outputs[b], states[0], rtol=1e-4, atol=1e-5)


def test_dropout_of_the_inputs_drops_the_same_features_at_every_step(rng):
    layer = HyperLSTM(5, hyper_units=4, dropout=0.4, seed=1)
    x = np.ones((20, 6, 30), "float32")
    layer.build(x.shape)
    seen = []
    project = type(layer.cell).project

    def spy(cell, inputs, multiply):
        seen.append(to_numpy(inputs))
        return project(cell, inputs, multiply)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(layer.cell), "project", spy)
        layer(x, training=True)
        (dropped,) = seen
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert np.mean(dropped == 0) == pytest.approx(0.4, abs=0.1)
    np.testing.assert_allclose(dropped[dropped != 0], 1 / 0.6, rtol=1e-6)
    without = HyperLSTM(5, hyper_units=4)
    without.build(x.shape)
    without.set_weights([v.numpy() for v in layer.trainable_variables])
    np.testing.assert_allclose(to_numpy(layer(x)), to_numpy(without(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(BACKEND != "jax", reason="other loops can draw")
@pytest.mark.parametrize("case", CASES)
def test_a_bare_cell_on_jax_names_the_layer(case):
    layer, _ = make(case, "cell")
    x = np.ones((2, 3, 3), "float32")
    layer(x)
    with pytest.raises(NotImplementedError, match=f"keras_hyper.{CASES[case][0].__name__}"):
        layer(x, training=True)


def test_it_trains_compiled(rng):
    rates = {"recurrent_dropout": 0.1, "hyper_recurrent_dropout": 0.1, "dropout": 0.2}
    model = keras.Sequential([keras.Input((None, 3)), HyperLSTM(8, hyper_units=4, **rates)])
    model.compile("sgd", "mse", jit_compile=JIT)
    x = rng.normal(size=(4, 5, 3)).astype("float32")
    loss = model.fit(x, np.ones((4, 8)), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(loss).all()
    assert len(set(loss)) == 3
