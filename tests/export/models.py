"""Models to export, what to call their endpoints with, and what should come back."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from helpers import to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperConv2D,
    HyperDense,
    HyperEmbedding,
    HyperGRU,
    HyperLSTM,
    HyperLSTMCell,
    Hypernetwork,
    TaskEmbedding,
    TiledKernelGenerator,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, and inputs for it by name.

    `inputs` takes a random generator, a batch size and a length.
    """

    make: Callable[[], keras.Model]
    inputs: Callable[[np.random.Generator, int, int], dict]
    endpoints: tuple[str, ...] = ("serving_default", "serve_xla")


def normal(*shape):
    return lambda rng, batch: rng.normal(size=(batch, *shape)).astype("float32")


def static():
    tiles = TiledKernelGenerator((3, 3, 3, 2), embedding_dim=4)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            HyperConv2D(4, 3, generator=tiles, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            HyperDense(5, composition="add"),
        ]
    )


def recurrent():
    x = keras.Input((None, 3))
    y = HyperLSTM(6, hyper_units=4, embedding_dim=2, return_sequences=True, name="first")(x)
    every = layers.Dense(2)(layers.GRU(5, return_sequences=True, name="second")(y))
    last = layers.RNN(HyperLSTMCell(4, hyper_units=3, embedding_dim=2), name="third")(y)
    return keras.Model(x, {"every": every, "last": last})


def text():
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            HyperEmbedding(9, 4),
            HyperGRU(5, hyper_units=3, embedding_dim=2, return_sequences=True),
            layers.Dense(9),
        ]
    )


def small_target():
    return keras.Sequential(
        [keras.Input((5,)), layers.Dense(6, activation="tanh", name="a"), layers.Dense(3, name="b")]
    )


def chunks():
    return ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3, activation="tanh")


def by_task():
    return Hypernetwork(
        small_target(), generator=chunks(), condition=[TaskEmbedding(4, 3), layers.Dense(2)]
    )


def built(model, *inputs):
    model(*inputs)
    return model


def at_a_task():
    return Hypernetwork(small_target(), generator=chunks(), condition=TaskEmbedding(4, 3)).at(2)


def several_inputs():
    """A functional model with a context network, conditioned convolutions and a static layer."""
    image, user = keras.Input((6, 6, 2), name="image"), keras.Input((3,), name="user")
    context = layers.Dense(4, activation="tanh")(user)
    y = HyperConv2D(4, 3, generate_bias=True, name="conv")(image, condition=context)
    y = layers.GlobalAveragePooling2D()(y)
    head = HyperDense(3, name="head")(y, condition=user)
    return keras.Model({"image": image, "user": user}, [head, HyperDense(2, name="static")(y)])


def recurrent_target():
    target = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4, name="lstm")])
    return Hypernetwork(target, generator=chunks())


SERVE = ("serving_default", "serve_xla")
STEP = ("initial_state", "step")
CONDITIONED = ("generate", "apply")
CASES = {
    "static": Case(static, lambda rng, b, t: {"image": normal(8, 8, 3)(rng, b)}),
    "recurrent": Case(recurrent, lambda rng, b, t: {"inputs": normal(t, 3)(rng, b)}, SERVE + STEP),
    "text": Case(
        text,
        lambda rng, b, t: {"ids": rng.integers(0, 9, (b, t)).astype("int32")},
        SERVE + STEP,
    ),
    "by task": Case(
        lambda: built(
            by_task(), {"inputs": np.ones((2, 5)), "condition": [[1, 2], np.ones((2, 4))]}
        ),
        lambda rng, b, t: {
            "inputs": normal(5)(rng, b),
            "condition_0": (np.arange(b) % 4).astype("int32"),
            "condition_1": normal(4)(rng, b),
        },
        SERVE + CONDITIONED,
    ),
    "at a task": Case(at_a_task, lambda rng, b, t: {"inputs": normal(5)(rng, b)}),
    "several inputs": Case(
        several_inputs,
        lambda rng, b, t: {"image": normal(6, 6, 2)(rng, b), "user": normal(3)(rng, b)},
        SERVE + CONDITIONED,
    ),
    "recurrent target": Case(
        recurrent_target, lambda rng, b, t: {"inputs": normal(t, 3)(rng, b)}, SERVE + STEP
    ),
}


def outputs_of(model, inputs):
    """Returns what a model makes of inputs by name, by the names of its endpoint."""
    inputs = dict(inputs)
    given = [inputs.pop(name) for name in list(inputs) if name.startswith("condition")]
    flat = list(inputs.values())
    data = inputs if isinstance(getattr(model, "input", None), dict) else flat[0]
    kwargs = {"condition": given} if given else {}
    outputs = model(data, **kwargs)
    if isinstance(outputs, list):
        outputs = dict(zip(model.output_names, outputs, strict=True))
    if not isinstance(outputs, dict):
        outputs = {"outputs": outputs}
    return {name: to_numpy(value) for name, value in outputs.items()}
