"""The training pass on TensorFlow, against the plain loop of the same layer."""

import re

import keras
import numpy as np
import pytest

from helpers import shake, to_numpy
from keras_hyper import HyperGRU, HyperLSTM, HyperSimpleRNN, HyperSimpleRNNCell, LayerNormLSTM
from keras_hyper.rnn import recurrent_layer

if keras.backend.backend() != "tensorflow":
    pytest.skip("of TensorFlow alone", allow_module_level=True)

import tensorflow as tf

SMALL = {"hyper_units": 4, "embedding_dim": 2}
MASK = np.array([[0, 1, 1, 0, 1, 0], [1, 1, 0, 1, 0, 1]], dtype=bool)
CASES = {
    "lstm": (HyperLSTM, SMALL, {}, None),
    "lstm-norm-masked": (HyperLSTM, {**SMALL, "layer_norm": True}, {}, MASK),
    "lstm-no-bias-backwards": (
        HyperLSTM,
        {**SMALL, "use_bias": False},
        {"go_backwards": True},
        MASK,
    ),
    "gru-zeros": (HyperGRU, SMALL, {"zero_output_for_mask": True}, MASK),
    "gru-last": (HyperGRU, SMALL, {"return_sequences": False}, None),
    "rnn": (HyperSimpleRNN, SMALL, {}, None),
    "rnn-full": (HyperSimpleRNN, {**SMALL, "form": "full"}, {}, MASK),
    "layer-norm-lstm-last": (LayerNormLSTM, {}, {"return_sequences": False}, MASK),
    "lstm-without-norm-or-bias": (
        LayerNormLSTM,
        {"layer_norm": False, "use_bias": False},
        {"return_sequences": False},
        None,
    ),
    "dropped": (
        HyperLSTM,
        {**SMALL, "recurrent_dropout": 0.4, "hyper_recurrent_dropout": 0.3},
        {},
        MASK,
    ),
}
EVERY = {"return_sequences": True, "return_state": True}


def make(case, rng, **kwargs):
    cls, arguments, switches, mask = CASES[case]
    layer = cls(5, **arguments, **{**EVERY, **switches, **kwargs}, seed=3)
    layer.build((2, 6, 3))
    shake(layer, rng)
    return layer, mask


def slopes(layer, x, states, mask, training=True):
    """Returns outputs and gradients by weights, inputs and first states."""
    with tf.GradientTape() as tape:
        tape.watch([x, states])
        outputs = layer(x, initial_state=list(states), mask=mask, training=training)
        loss = sum(tf.reduce_sum(o * o * o) for o in outputs)
    return outputs, tape.gradient(loss, [*(v.value for v in layer.weights), x, *states])


def data(layer, rng, steps=6):
    dtype = layer.compute_dtype
    x = tf.constant(rng.normal(size=(2, steps, 3)), dtype)
    return x, [tf.constant(rng.normal(size=(2, n)), dtype) for n in layer.cell.state_size]


def seed_again(layer):
    """Lets the next call draw what the first one drew."""
    for v in layer.non_trainable_variables:
        if "seed" in v.path:
            v.assign(keras.ops.convert_to_tensor([0, 3], v.dtype))


def plainly(layer, x, states, mask):
    """The same by Keras's loop, with the same random numbers."""
    seed_again(layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_layer, "_can_sweep", lambda: False)
        # A few steps take less time than their graph does to trace.
        if x.shape[1] < 10:
            return slopes(layer, x, states, mask)
        return tf.function(lambda: slopes(layer, x, states, mask))()


def swept(layer, x, states, mask, **options):
    seed_again(layer)
    return tf.function(lambda x, *s: slopes(layer, x, list(s), mask), **options)(x, *states)


@pytest.mark.parametrize(
    ("case", "jit"),
    [*((case, False) for case in CASES), ("lstm-norm-masked", True), ("gru-zeros", True)],
)
def test_it_is_the_plain_loop(case, jit, rng):
    """Outputs, states and every gradient, in float64."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    layer, mask = make(case, rng)
    x, states = data(layer, rng)
    expected = plainly(layer, x, states, mask)
    found = swept(layer, x, states, mask, jit_compile=jit)
    for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", ["dropped", "gru-last", "layer-norm-lstm-last", "rnn-full"])
def test_xla_copies_no_array_of_all_steps_in_every_step(case, rng):
    """Else the time of a training step grows with the square of the length."""
    cls, arguments, switches, _ = CASES[case]
    layer = cls(5, **arguments, **{**EVERY, **switches})
    layer.build((None, None, 3))

    @tf.function(jit_compile=True)
    def trained(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x, training=True)[0] ** 2)
        return tape.gradient(loss, layer.trainable_variables)

    program = trained.experimental_get_compiler_ir(tf.zeros((2, 37, 3)))(stage="optimized_hlo")
    loops = set(re.findall(r"body=(%[\w.\-]+)", program))
    assert len(loops) >= 2
    copied = []
    for line in program.splitlines():
        if head := re.match(r"(?:ENTRY )?(%[\w.\-]+) \(", line):
            in_loop = head[1] in loops
        elif found := re.search(r"= \w+\[(\d*)[\d,]*\]\S* copy\(", line):
            copied.append((in_loop, found[1]))
    assert copied
    # Of the states there is one more.
    assert not [first for in_loop, first in copied if in_loop and first in ("37", "38")]


def test_xla_draws_random_numbers_without_the_seed_of_each_again(rng):
    """TensorFlow's default algorithm derives a key that XLA may derive for each number."""
    layer, _ = make("dropped", rng, dropout=0.2)
    traced = tf.function(lambda x: layer(x, training=True)).get_concrete_function(
        data(layer, rng)[0]
    )
    names = {op.type for op in traced.graph.get_operations()}
    assert "StatelessRandomUniformV2" in names
    assert "StatelessRandomGetKeyCounter" not in names


@pytest.mark.parametrize(("case", "steps"), [("gru-zeros", 6), ("lstm", 500)])
def test_half_precision_is_as_exact_as_in_the_plain_loop(case, steps, rng):
    """Gradients of float32 weights, in float32, near those without half precision."""
    exact, mask = make(case, rng)
    x, states = data(exact, rng, steps)
    reference = plainly(exact, x, states, mask)[1]
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer, _ = make(case, rng)
    layer.set_weights(exact.get_weights())
    halves = [tf.cast(x, "bfloat16"), [tf.cast(state, "bfloat16") for state in states]]
    # States of another type are taken, too.
    halves[1][0] = states[0]
    errors = []
    for gradients in (plainly(layer, *halves, mask)[1], swept(layer, *halves, mask)[1]):
        stored = gradients[: len(layer.weights)]
        assert {g.dtype.name for g in stored} == {"float32"}
        gradients = [np.asarray(tf.cast(g, "float32")) for g in gradients]
        pairs = zip(gradients, reference, strict=True)
        errors.append([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs])
    assert max(errors[1]) > 0
    for plain, ours in zip(*errors, strict=True):
        # A few roundings of 2^-9 in one step and the next.
        assert ours < 2 * plain + 0.02


def test_batch_and_length_are_free(rng):
    layer, _ = make("rnn", rng)
    train = tf.function(
        lambda x, h, m: slopes(layer, x, [h, m], None),
        input_signature=[tf.TensorSpec((None, None, 3))]
        + [tf.TensorSpec((None, n)) for n in layer.cell.state_size],
    )
    for batch, steps in ((1, 1), (3, 7)):
        x = tf.constant(rng.normal(size=(batch, steps, 3)), "float32")
        states = [tf.constant(rng.normal(size=(batch, n)), "float32") for n in (5, 4)]
        found, expected = train(x, *states), plainly(layer, x, states, None)
        for a, b in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def spy(patch):
    """Counts how often the loops are traced."""
    from keras_hyper.rnn import tensorflow_sweep

    traced = []
    original = tensorflow_sweep.sweep
    patch.setattr(tensorflow_sweep, "sweep", lambda *a, **k: traced.append(1) or original(*a, **k))
    return traced


@pytest.mark.parametrize("jit", [False, True])
def test_fit_uses_it_and_nothing_else_does(jit, rng, monkeypatch):
    traced = spy(monkeypatch)
    layer, _ = make("rnn", rng, return_state=False)
    model = keras.Sequential([keras.Input((6, 3)), layer])
    model.compile("sgd", "mse", jit_compile=jit)
    x, y = rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 6, 5))
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    assert not traced
    model.fit(x, y, verbose=0)
    assert traced


@pytest.mark.export
@pytest.mark.parametrize("training", [None, True])
def test_exports_hold_no_compiled_function(training, rng, tmp_path):
    """Not even those of a layer that always drops."""
    layer, _ = make("rnn", rng, return_state=False)
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layer(inputs, training=training))
    model.compile("sgd", "mse")
    model.fit(rng.normal(size=(4, 6, 3)), rng.normal(size=(4, 6, 5)), verbose=0)
    model.export(tmp_path / "saved", verbose=False)
    assert b"_XlaMustCompile" not in (tmp_path / "saved" / "saved_model.pb").read_bytes()


def test_a_frozen_layer_passes_gradients_on(rng):
    layer, mask = make("rnn", rng)
    x, states = data(layer, rng)
    expected = swept(layer, x, states, mask)
    layer.trainable = False
    found = swept(layer, x, states, mask)
    np.testing.assert_allclose(found[1][-3], expected[1][-3], rtol=1e-5, atol=1e-6)


def test_a_stateful_layer_carries_its_states_from_batch_to_batch(rng):
    layer, _ = make("gru-zeros", rng, stateful=True)
    x, _ = data(layer, rng)
    whole = to_numpy(layer(x))
    layer.reset_state()
    train = tf.function(lambda x: layer(x, training=True)[0])
    parts = [to_numpy(train(part)) for part in (x[:, :4], x[:, 4:])]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole[0], rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_part_of_a_state_is_taken(rng):
    layer, _ = make("rnn", rng)
    x, states = data(layer, rng)

    def slope(layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            state = layer(x, initial_state=list(states), training=True)[1]
            loss = tf.reduce_sum(tf.gather(state, [1]) ** 2)
        return tape.gradient(loss, x)

    found = tf.function(slope)(layer)
    assert np.abs(found[1]).max() > 0
    np.testing.assert_allclose(found, slope(layer), rtol=1e-4, atol=1e-6)


def test_a_mask_may_have_an_axis_of_its_own(rng):
    layer, mask = make("lstm-norm-masked", rng)
    train = tf.function(lambda mask: layer(x, initial_state=states, mask=mask, training=True))
    x, states = data(layer, rng)
    for a, b in zip(train(mask), train(mask[..., None]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_matrix_is_used_once(rng):
    """What the training pass keeps is one product of each."""

    class Twice(HyperSimpleRNNCell):
        def transition(self, projected, states, drops, multiply, fuse):
            multiply(states[0], "recurrent_kernel")
            return super().transition(projected, states, drops, multiply, fuse)

    class Layer(HyperSimpleRNN):
        cell_class = Twice

    layer = Layer(5, **SMALL)
    with pytest.raises(ValueError, match="multiply with 'recurrent_kernel' only once"):
        tf.function(layer)(tf.zeros((2, 6, 3)), training=True)


def test_second_derivatives_are_refused_by_name(rng):
    layer, _ = make("rnn", rng, return_state=False)
    bare = keras.layers.RNN(HyperSimpleRNNCell(5, **SMALL), return_sequences=True)
    bare.build((2, 6, 3))
    bare.set_weights([v.numpy() for v in layer.trainable_variables])
    x, _ = data(layer, rng)

    def penalty(layer, x, training, linear):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                outputs = layer(x, training=training)
                loss = tf.reduce_sum(outputs if linear else outputs**2)
            slope = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(slope, x)

    for linear in (False, True):
        with pytest.raises(NotImplementedError, match="training=False, or use `keras.layers.RNN`"):
            tf.function(penalty)(layer, x, True, linear)
        inference, cell = penalty(layer, x, False, linear), penalty(bare, x, True, linear)
        assert np.abs(inference).max() > 0.01
        np.testing.assert_allclose(inference, cell, rtol=1e-4, atol=1e-5)


def test_called_eagerly_a_layer_trains_by_the_plain_loop(monkeypatch):
    traced = spy(monkeypatch)
    HyperLSTM(5, **SMALL)(np.zeros((2, 6, 3), "float32"), training=True)
    assert not traced
