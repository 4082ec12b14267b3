"""Giving values to what would compute them, and recording what was used."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers

from helpers import to_numpy
from keras_hyper import ChunkedGenerator, GeneratedWeight, HyperDense, Hypernetwork, LinearGenerator
from keras_hyper.application import installed, loops_of
from keras_hyper.kernels import Full
from keras_hyper.weights.scopes import override, recording


def target():
    return keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2)])


def test_a_layer_uses_and_reports_the_kernel_that_it_is_given(rng):
    layer = HyperDense(2, use_bias=False)
    x, w = (rng.normal(size=shape).astype("float32") for shape in ((4, 3), (3, 2)))
    before = to_numpy(layer(x))
    kernel = Full(keras.ops.convert_to_tensor(w), batched=False)
    with override({id(layer.kernel_weight): kernel}), recording() as used:
        np.testing.assert_allclose(to_numpy(layer(x)), x @ w, atol=1e-5)
        np.testing.assert_array_equal(to_numpy(layer.generate()["kernel"]), w)
    first, second = used[id(layer.kernel_weight)]
    np.testing.assert_array_equal(to_numpy(first.materialize()), w)
    np.testing.assert_array_equal(to_numpy(second.materialize()), w)
    np.testing.assert_array_equal(to_numpy(layer(x)), before)


@pytest.mark.parametrize("generator", [ChunkedGenerator(4), LinearGenerator(3)])
def test_a_hypernetwork_takes_some_weights_and_generates_the_others(generator, rng):
    hyper = Hypernetwork(target(), generator)
    weights = hyper.generate()
    given = rng.normal(size=(3, 4)).astype("float32")
    kernel = Full(keras.ops.convert_to_tensor(given), batched=False)
    x = rng.normal(size=(4, 3)).astype("float32")
    with override({id(hyper.generated_weights["a/kernel"]): kernel}), recording() as used:
        outputs = to_numpy(hyper(x))
    expected = hyper.apply({**weights, "a/kernel": given}, x)
    np.testing.assert_allclose(outputs, to_numpy(expected), atol=1e-5)
    assert all(len(used[id(w)]) == 1 for w in hyper.generated_weights.values())


def test_a_hypernetwork_that_is_given_all_weights_needs_no_condition(rng):
    hyper = Hypernetwork(target(), ChunkedGenerator(4), condition=2)
    weights = hyper.generate(np.ones(2, "float32"))
    x = rng.normal(size=(4, 3)).astype("float32")
    kernels = {
        id(weight): Full(weights[path], batched=False)
        for path, weight in hyper.generated_weights.items()
    }
    with override(kernels):
        outputs = hyper(x, condition=np.full(2, np.nan, "float32"))
    np.testing.assert_allclose(to_numpy(outputs), to_numpy(hyper.apply(weights, x)), atol=1e-5)


def test_scopes_nest_and_end_after_an_error():
    weight = GeneratedWeight(LinearGenerator(3), (2,), name="w")
    weight.build()
    one, two = (Full(keras.ops.full((2,), n), batched=False) for n in (1.0, 2.0))
    with override({id(weight): one}), recording():
        with contextlib.suppress(RuntimeError), override({id(weight): two}):
            assert to_numpy(weight()).tolist() == [2, 2]
            raise RuntimeError
        assert to_numpy(weight()).tolist() == [1, 1]
    assert to_numpy(weight()).tolist() not in ([1, 1], [2, 2])


@pytest.mark.parametrize("cls", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_recurrent_layer_starts_from_given_states_and_reports_the_last(cls, rng):
    layer = cls(4)
    x = rng.normal(size=(2, 3, 5)).astype("float32")
    layer(x)
    count = len(keras.tree.flatten(layer.cell.state_size))
    states = [rng.normal(size=(2, 4)).astype("float32") for _ in range(count)]
    states = [keras.ops.convert_to_tensor(s) for s in states]
    with installed(loops_of([layer])), override({id(layer): states}), recording() as used:
        outputs = layer(x)
    expected = layer(x, initial_state=states)
    np.testing.assert_allclose(to_numpy(outputs), to_numpy(expected), atol=1e-6)
    (run,) = used[id(layer)]
    last = keras.tree.flatten(run.states)[0]
    np.testing.assert_allclose(to_numpy(last), to_numpy(expected), atol=1e-6)
    assert "inner_loop" not in vars(layer)
