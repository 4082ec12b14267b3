"""Scales, changes of weights and saturation along sequences, against the plain equations."""

import keras
import numpy as np
import pytest

from helpers import compiled, shake, to_numpy
from keras_hyper import HyperGRU, HyperLSTM, HyperSimpleRNN, LayerNormLSTM, record_weights
from keras_hyper.rnn.lstm import EPSILON
from reference import recurrent

SMALL = {"hyper_units": 4, "embedding_dim": 2}
CASES = {
    "lstm": (HyperLSTM, SMALL, recurrent.hyper_lstm, 2),
    "lstm-norm": (HyperLSTM, {**SMALL, "layer_norm": True}, recurrent.hyper_lstm, 2),
    "lstm-no-bias": (HyperLSTM, {**SMALL, "use_bias": False}, recurrent.hyper_lstm, 2),
    "gru": (HyperGRU, SMALL, recurrent.hyper_gru, 1),
    "rnn": (HyperSimpleRNN, SMALL, recurrent.hyper_simple_rnn, 1),
    "rnn-full": (
        HyperSimpleRNN,
        {**SMALL, "form": "full"},
        recurrent.full_hyper_simple_rnn,
        1,
    ),
    "rnn-full-one": (
        HyperSimpleRNN,
        {**SMALL, "form": "full", "embedding_dim": 1},
        recurrent.full_hyper_simple_rnn,
        1,
    ),
}
STEPS = 5


def make(case, rng, **kwargs):
    cls, arguments, equations, place = CASES[case]
    layer = cls(6, **arguments, **kwargs)
    layer.build((2, STEPS, 3))
    shake(layer, rng)
    return layer, equations, place


def tensors_of(record):
    return {k: v for k, v in vars(record).items() if v is not None and k != "gate_names"}


def record(layer, x, **kwargs):
    def parts(x):
        return tensors_of(record_weights(layer, x, **kwargs))

    return to_numpy(compiled(parts, layer)(x))


def whole_weights(w, gate, hyper):
    """The matrices and the bias of one gate in one step, written out."""
    z_h, z_x, z_b = recurrent.embeddings(w, hyper, gate)
    if "W_hz" in w:
        matrices = [
            sum(a * m for a, m in zip(z, w[name], strict=True))
            for z, name in ((z_h, "W_hz"), (z_x, "W_xz"))
        ]
    else:
        matrices = [
            np.diag(w["S_h", gate] @ z_h) @ w["W_h", gate],
            np.diag(w["S_x", gate] @ z_x) @ w["W_x", gate],
        ]
    bias = w["S_b", gate] @ z_b if ("S_b", gate) in w else np.zeros(6)
    return {"recurrent_kernel": matrices[0], "kernel": matrices[1], "bias": bias}


@pytest.mark.parametrize("case", CASES)
def test_a_record_is_what_the_equations_do(case, rng):
    layer, equations, place = make(case, rng)
    x = rng.normal(size=(2, STEPS, 3)).astype("float32")
    found = record(layer, x)
    w = recurrent.weights_of(layer.cell)
    gates = {4: "ifgo", 3: "zrg", 1: "h"}[layer.cell.gates]
    for b in range(2):
        states, before = [np.zeros(n) for n in layer.cell.state_size], None
        for t in range(STEPS):
            states = equations(w, x[b, t], states)
            for ours, expected in zip(found["states"], states, strict=True):
                np.testing.assert_allclose(ours[b, t], expected, rtol=1e-4, atol=1e-5)
            hyper = states[place]
            now = [whole_weights(w, gate, hyper) for gate in gates]
            for n, gate in enumerate(gates):
                for name, change in found["changes"].items():
                    expected = 0 if before is None else now[n][name] - before[n][name]
                    norm = np.sqrt(np.sum(np.square(expected)))
                    assert change[b, t, n] == pytest.approx(norm, rel=1e-3, abs=1e-4)
                for name, letter in (("recurrent_kernel", "h"), ("kernel", "x")):
                    if name in found["scales"]:
                        z = recurrent.embeddings(w, hyper, gate)[0 if letter == "h" else 1]
                        np.testing.assert_allclose(
                            found["scales"][name][b, t, n],
                            w[f"S_{letter}", gate] @ z,
                            rtol=1e-4,
                            atol=1e-5,
                        )
            before = now
    assert bool(found["scales"]) == ("full" not in case)
    parts = {"recurrent_kernel", "kernel", "bias"} - ({"bias"} if "no-bias" in case else set())
    assert set(found["changes"]) == parts
    assert max(change[:, 1:].min() for change in found["changes"].values()) > 0


@pytest.mark.parametrize(
    "layer",
    [
        lambda: LayerNormLSTM(6),
        lambda: LayerNormLSTM(6, layer_norm=False),
        lambda: HyperLSTM(6, **SMALL, layer_norm=True),
    ],
)
def test_saturation_is_what_the_output_gate_multiplies(layer, rng):
    layer = layer()
    layer.build((2, STEPS, 3))
    shake(layer, rng)
    x = rng.normal(size=(2, STEPS, 3)).astype("float32")
    found = record(layer, x)
    carry = found["states"][1].astype("float64")
    if layer.layer_norm:
        norm = layer.cell.carry_norm
        carry = carry - carry.mean(axis=-1, keepdims=True)
        carry = carry / np.sqrt(np.mean(carry**2, axis=-1, keepdims=True) + EPSILON)
        carry = carry * norm.gamma.numpy() + norm.beta.numpy()
    np.testing.assert_allclose(found["saturation"], np.tanh(carry), rtol=1e-3, atol=1e-4)
    if isinstance(layer, LayerNormLSTM):
        assert found["scales"] == found["changes"] == {}


def test_a_mask_and_first_states_are_those_of_the_layer(rng):
    layer, *_ = make("lstm", rng, return_sequences=True, go_backwards=True)
    x = rng.normal(size=(2, STEPS, 3)).astype("float32")
    mask = np.array([[1, 1, 0, 1, 1], [1, 0, 0, 1, 1]], bool)
    first = [rng.normal(size=(2, n)).astype("float32") for n in layer.cell.state_size]
    found = record(layer, x, initial_state=first, mask=mask)
    outputs = to_numpy(compiled(layer, layer)(x, initial_state=first, mask=mask))
    np.testing.assert_allclose(found["states"][0], outputs, rtol=1e-5, atol=1e-6)
    masked = ~mask[:, ::-1]
    assert np.all(found["changes"]["recurrent_kernel"][masked] == 0)
    masked[:, 0] = True  # There is nothing before it.
    assert np.all(found["changes"]["recurrent_kernel"][~masked] != 0)


def test_recording_changes_nothing(rng):
    layer, *_ = make("lstm", rng, stateful=True)
    x = rng.normal(size=(2, STEPS, 3)).astype("float32")
    layer(x)
    before = [v.numpy() for v in layer.variables]
    record_weights(layer, x)
    for variable, value in zip(layer.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_the_scales_of_a_new_network_do_not_change():
    layer = HyperLSTM(6, **SMALL)
    x = np.ones((2, STEPS, 3), "float32")
    with pytest.raises(ValueError, match="is not built. Call it on inputs"):
        record_weights(layer, x)
    layer(x)
    found = to_numpy(tensors_of(record_weights(layer, x)))
    np.testing.assert_allclose(found["scales"]["kernel"], 0.1, rtol=1e-6)
    assert not found["changes"]["kernel"].any()
    assert found["saturation"].any()


@pytest.mark.parametrize("shape", [(STEPS, 3), (2, STEPS, 4)])
def test_sequences_that_do_not_fit_are_refused(shape):
    layer = HyperLSTM(6, **SMALL)
    layer.build((2, STEPS, 3))
    with pytest.raises(ValueError, match=r"`sequences` must be of shape \(batch, steps, 3\)"):
        record_weights(layer, np.ones(shape, "float32"))


def test_other_layers_are_refused():
    with pytest.raises(TypeError, match="`layer` must be a HyperLSTM.*Received: layer=<LSTM"):
        record_weights(keras.layers.LSTM(3), np.ones((2, STEPS, 3)))
