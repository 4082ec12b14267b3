"""Calls at the same time, inside one another, and ones that fail."""

import concurrent.futures
import threading

import keras
import numpy as np
import pytest
from keras import layers

from helpers import gradients, shake, to_numpy
from keras_hyper import Hypernetwork, LinearGenerator, LowRankGenerator
from keras_hyper.utils.graph import walk

METHODS = {"call", "quantized_call", "inner_loop", "rematerialized_call"}


@keras.saving.register_keras_serializable("tests")
class Meeting(layers.Layer):
    """Waits in its call until as many calls are inside as the barrier says."""

    barrier = None

    def call(self, inputs):
        if self.barrier is not None:
            self.barrier.wait(60)
        return inputs


@keras.saving.register_keras_serializable("tests")
class Failing(layers.Layer):
    """Raises in its call, if asked to."""

    fails = False

    def call(self, inputs):
        if self.fails:
            raise RuntimeError("no")
        return inputs


def target(*between):
    between = between or (Meeting(name="meeting"),)
    return keras.Sequential(
        [keras.Input((4,)), *between, layers.Dense(5, activation="tanh"), layers.Dense(2)]
    )


def hypernetwork(model, generator=None, **options):
    hyper = Hypernetwork(model, generator or LowRankGenerator(1, 4), condition=3, **options)
    for weight in hyper.generated_weights.values():
        if weight.gate is not None:
            weight.gate.assign(0.5)
    return hyper


def left_behind(model):
    return METHODS & {name for layer in walk(model) for name in vars(layer)}


def test_calls_at_the_same_time_have_their_own_weights(rng):
    hyper = hypernetwork(target(), composition="add")
    other = hypernetwork(hyper.target, composition="add", include="*/kernel")
    x = rng.normal(size=(4, 4)).astype("float32")
    conditions = [rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(3,)), None]
    calls = [
        lambda: hyper(x, condition=conditions[0]),
        lambda: hyper(x, condition=conditions[1].astype("float32")),
        lambda: other(x, condition=conditions[0]),
        lambda: hyper.target(x),
    ]
    expected = [to_numpy(call()) for call in calls]
    assert not np.allclose(expected[0], expected[3])
    meeting = hyper.target.get_layer("meeting")
    # All are inside before one of them goes on, and again after it.
    meeting.barrier = threading.Barrier(len(calls))
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        found = [future.result() for future in [pool.submit(call) for call in calls]]
    meeting.barrier = None
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(to_numpy(ours), theirs, rtol=1e-6, atol=1e-6)
    assert not left_behind(hyper)


def test_a_call_that_fails_leaves_nothing_behind(rng):
    failing = Failing(name="failing")
    hyper = hypernetwork(target(layers.Dense(4), failing), composition="add")
    x, c = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=(3, 3)).astype("float32")
    expected, plain = to_numpy(hyper(x, condition=c)), to_numpy(hyper.target(x))
    failing.fails = True
    with pytest.raises(RuntimeError, match="no"):
        hyper(x, condition=c)
    failing.fails = False
    assert not left_behind(hyper)
    np.testing.assert_array_equal(to_numpy(hyper.target(x)), plain)
    np.testing.assert_array_equal(to_numpy(hyper(x, condition=c)), expected)


def test_two_hypernetworks_over_one_target_do_not_see_each_other(rng):
    model = target()
    x, c = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=(3, 3)).astype("float32")
    plain = to_numpy(model(x))
    first = hypernetwork(model, composition="add", include="dense/kernel")
    before = to_numpy(first(x, condition=c))
    second = hypernetwork(model, composition="scale", include="dense_1/kernel")
    after = to_numpy(second(x, condition=c))
    np.testing.assert_array_equal(to_numpy(first(x, condition=c)), before)
    np.testing.assert_array_equal(to_numpy(model(x)), plain)
    assert not np.allclose(after, before)


@keras.saving.register_keras_serializable("tests")
class Around(keras.Model):
    """Calls a conditioned hypernetwork with a condition that it makes of its inputs."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.to_condition = layers.Dense(3, name="to_condition")
        self.last = layers.Dense(2, name="last")

    def build(self, shape):
        self.to_condition.build(shape)
        self.last.build((None, 2))

    def call(self, inputs):
        return self.last(self.inner(inputs, condition=self.to_condition(inputs)))


@pytest.mark.parametrize("include", ["*", "*inner*", "last"])
@pytest.mark.parametrize("composition", ["replace", "add"])
def test_a_target_may_contain_a_hypernetwork(composition, include, rng):
    inner = hypernetwork(target(), LinearGenerator(4), composition=composition)
    around = Around(inner)
    x, c = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=(3, 3)).astype("float32")
    around(x)
    outer = Hypernetwork(
        around, LinearGenerator(4), condition=3, composition="add", include=include
    )
    outer(x, condition=c)
    shake(outer, rng)
    outputs = to_numpy(outer(x, condition=c))
    weights = to_numpy(outer.generate(c))
    for i in range(3):
        own = outer.apply({path: w[i] for path, w in weights.items()}, x[i : i + 1])
        np.testing.assert_allclose(outputs[i : i + 1], to_numpy(own), rtol=2e-5, atol=2e-6)
    assert not np.allclose(outputs, to_numpy(around(x)))
    assert not left_behind(outer)


class Block(layers.Layer):
    """A layer around an adapted one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4, use_bias=False, name="dense")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(inputs)

    def compute_output_shape(self, shape):
        return shape


def sharing(remat):
    """Returns hypernetworks over a model and over a part of it, which share a layer."""
    keras.utils.set_random_seed(0)
    # The block alone, whose adapted layer is called again by it.
    scope = keras.RematScope("list_of_layers", layer_names=["shared"] if remat else ["none"])
    with scope:
        shared = Block(name="shared")
    inside = [keras.Input((4,)), shared, layers.Dense(2, use_bias=False, name="last")]
    inner = hypernetwork(keras.Sequential(inside), include="last/*")
    inputs, condition = keras.Input((4,)), keras.Input((3,))
    model = keras.Model([inputs, condition], inner(shared(inputs), condition=condition))
    return Hypernetwork(model, LinearGenerator(4), condition=3, include="shared/*"), inner


def test_a_layer_inside_and_outside_of_a_hypernetwork_has_the_outer_weights_in_both(rng):
    x, c = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=(3, 3)).astype("float32")
    found = []
    for remat in (False, True):
        outer, inner = sharing(remat)
        outer([x, c], condition=c)
        kernel, last = (to_numpy(hyper.generate(c)) for hyper in (outer, inner))
        twice = [kernel["shared/dense/kernel"]] * 2
        expected = np.einsum("bi,bij,bjk,bkl->bl", x, *twice, last["last/kernel"])
        outputs = to_numpy(outer([x, c], condition=c))
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)

        def loss(x, c, outer=outer):
            return keras.ops.sum(keras.ops.square(outer([x, c], condition=c)))

        found.append(gradients(loss, outer, x, c))
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-5)
