"""Generator x composition x normalization x policy: through files, bake and clone."""

import pathlib
import pickle
import tempfile

import keras
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzz.strategies import assert_close, examples, generators, move, numbers
from helpers import to_numpy
from keras_hyper import HyperConv2D, HyperDense, Hypernetwork, TaskEmbedding, bake, clone

POLICIES = ["float32", "float32", "mixed_float16", "mixed_bfloat16", "bfloat16", "float64"]
TOLERANCES = {"float16": 2e-2, "bfloat16": 1e-1}
COMPOSITIONS = st.sampled_from(["replace", "add", "multiply", "scale"])
NORMALIZATIONS = st.sampled_from([None, None, "layer", "rms", "weight", "batch"])


def dense(generator, composition, conditioned, **kwargs):
    """Two dense layers that share a generator, and one that does not."""
    inputs, condition = keras.Input((4,)), keras.Input((3,)) if conditioned else None
    arguments = {"generator": generator, "composition": composition, **kwargs}
    x = HyperDense(4, **arguments, activation="tanh")(inputs, condition=condition)
    x = HyperDense(4, **arguments)(x, condition=condition)
    x = HyperDense(2, composition=composition)(x)
    return keras.Model([inputs, condition] if conditioned else inputs, x)


def conv(generator, composition, conditioned, **kwargs):
    """A convolution and a dense layer."""
    inputs, condition = keras.Input((4, 5, 2)), keras.Input((3,)) if conditioned else None
    arguments = {"generator": generator, "composition": composition, **kwargs}
    x = HyperConv2D(3, 2, **arguments)(inputs, condition=condition)
    x = keras.layers.Flatten()(x)
    return keras.Model([inputs, condition] if conditioned else inputs, keras.layers.Dense(2)(x))


def load(model, path):
    model.save(path)
    return keras.models.load_model(path)


def through_weights(model, directory):
    model.save_weights(directory / "m.weights.h5")
    again = clone(model)
    again.load_weights(directory / "m.weights.h5")
    return again


WAYS = {
    "keras": lambda model, directory: load(model, directory / "m.keras"),
    "pickle": lambda model, directory: pickle.loads(pickle.dumps(model)),
    "weights": through_weights,
}


def values(model):
    # Keras turns a variable into an array, but not its value, if that is one bfloat16.
    return [keras.ops.convert_to_numpy(v).copy() for v in model.weights]


def assert_same(model, before):
    for now, old in zip(values(model), before, strict=True):
        np.testing.assert_array_equal(now, old)


def made(function, *args):
    """Calls a function, and gives up on a generator that says that it cannot make the weight."""
    try:
        return function(*args)
    except ValueError as error:
        assume("of one number" not in str(error))
        raise


@examples(60)
@given(
    make=st.sampled_from([dense, conv]),
    data=st.data(),
    composition=COMPOSITIONS,
    normalization=NORMALIZATIONS,
    policy=st.sampled_from(POLICIES),
    conditioned=st.booleans(),
    frozen=st.booleans(),
    way=st.sampled_from(sorted(WAYS)),
)
def test_layers(make, data, composition, normalization, policy, conditioned, frozen, way):
    assume(conditioned or normalization != "batch")
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    spatial = () if make is dense else ((1, 1) if composition == "scale" else (2, 2))
    cls, arguments = data.draw(generators(spatial))
    generator = cls(**arguments, normalization=normalization)
    model = made(lambda: make(generator, composition, conditioned, base_trainable=not frozen))
    move(model, 1)
    x = numbers(2, (3, *make_shape(make)))
    if conditioned:
        x = [x, numbers(3, (3, 3))]
    before, outputs = values(model), to_numpy(model(x, training=False))
    with tempfile.TemporaryDirectory() as directory:
        again = WAYS[way](model, pathlib.Path(directory))
    np.testing.assert_array_equal(to_numpy(again(x, training=False)), outputs)
    assert_same(again, before)
    assert [v.trainable for v in again.weights] == [v.trainable for v in model.weights]
    copy = clone(model)
    assert [v.shape for v in copy.weights] == [v.shape for v in model.weights]
    assert copy.dtype_policy == model.dtype_policy
    if not conditioned:
        plain = bake(model)
        assert type(plain.layers[1]) in (keras.layers.Dense, keras.layers.Conv2D)
        assert_close(to_numpy(plain(x)), outputs, tolerance(outputs))
    assert_same(model, before)
    np.testing.assert_array_equal(to_numpy(model(x, training=False)), outputs)


def make_shape(make):
    return (4,) if make is dense else (4, 5, 2)


def tolerance(outputs):
    return TOLERANCES.get(str(outputs.dtype), 1e-4)


@examples(40)
@given(
    data=st.data(),
    composition=COMPOSITIONS,
    normalization=st.sampled_from([None, None, "layer", "rms", "weight"]),
    policy=st.sampled_from(POLICIES),
    condition=st.sampled_from([None, "tasks", 3]),
    include=st.sampled_from(["*", "*kernel", ["a", "b/bias"]]),
    way=st.sampled_from(["keras", "pickle"]),
)
def test_hypernetworks(data, composition, normalization, policy, condition, include, way):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    target = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, activation="tanh", name="a"),
            keras.layers.Dense(2, name="b"),
        ]
    )
    cls, arguments = data.draw(generators())
    generator = cls(**arguments, normalization=normalization)
    part = TaskEmbedding(3, 4) if condition == "tasks" else condition
    try:
        hyper = Hypernetwork(target, generator, part, include, composition)
    except ValueError as error:
        # Weights that are named, and that this generator cannot make.
        assume("cannot be" not in str(error) and "can be generated" not in str(error))
        assume("starts at zero" not in str(error))
        raise
    move(hyper, 1)
    x = numbers(2, (3, 4))
    given_value = {None: None, "tasks": 1, 3: numbers(3, (3,))}[condition]
    before, outputs = values(hyper), to_numpy(hyper(x, given_value))
    with tempfile.TemporaryDirectory() as directory:
        again = WAYS[way](hyper, pathlib.Path(directory))
    np.testing.assert_array_equal(to_numpy(again(x, given_value)), outputs)
    assert list(again.generated_weights) == list(hyper.generated_weights)
    plain = hyper.bake() if condition is None else hyper.bake(given_value)
    assert_close(to_numpy(plain(x)), outputs, tolerance(outputs))
    copy = clone(hyper)
    assert [v.shape for v in copy.weights] == [v.shape for v in hyper.weights]
    assert_same(hyper, before)
    np.testing.assert_array_equal(to_numpy(hyper(x, given_value)), outputs)
