"""A grammar of wrong calls of the public API: a valid call with one argument that is wrong."""

import functools

import keras
import numpy as np
from hypothesis import strategies as st

import keras_hyper
from keras_hyper import (
    ChunkedGenerator,
    GeneratedWeight,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEmbedding,
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    Hypernetwork,
    HyperSimpleRNN,
    HyperSimpleRNNCell,
    LayerNormLSTM,
    LayerNormLSTMCell,
    LinearGenerator,
    LowRankGenerator,
    MagnitudeInvariantEncoding,
    MLPGenerator,
    NoiseCondition,
    TaskEmbedding,
    TemplateGenerator,
    TiledKernelGenerator,
    visualize,
)

WORDS = st.text("abcxyz_", min_size=1, max_size=4).map(lambda text: f"no_{text}")
OBJECTS = st.builds(object)
FRACTIONS = st.floats(-9, 9).filter(lambda x: x != int(x)) | st.just(float("nan"))
TOO_SMALL = st.integers(-5, 0)
NO_SIZE = WORDS | FRACTIONS | TOO_SMALL | OBJECTS | st.lists(st.integers(1, 3), min_size=1)
NO_NAME = WORDS | FRACTIONS | OBJECTS
NO_MODEL = WORDS | st.none() | st.integers() | OBJECTS | st.just(keras.layers.Dense)

# The wrong values of an argument, by its kind.
WRONG = {
    "size": NO_SIZE | st.none(),
    "size or None": NO_SIZE,
    "sizes": WORDS | st.integers(0, 3) | st.none() | st.lists(TOO_SMALL, min_size=1),
    "sizes or one": WORDS | TOO_SMALL | st.none() | st.tuples(*[st.integers(1, 2)] * 5) | OBJECTS,
    "sizes of layers": WORDS | st.lists(TOO_SMALL | FRACTIONS, min_size=1) | st.just(()),
    "choice": NO_NAME | st.integers() | st.none() | st.lists(WORDS),
    "choice or None": NO_NAME | st.integers() | st.lists(WORDS),
    "rate": WORDS | st.floats(max_value=-0.1) | st.floats(1, 9) | st.just(float("nan")) | st.none(),
    "name": NO_NAME,
    "positive": WORDS | st.floats(max_value=0) | st.just(float("nan")) | st.none() | OBJECTS,
    "generator": NO_MODEL.filter(lambda x: x is not None) | st.just(LinearGenerator),
    "layer": NO_MODEL,
    "numbers": WORDS | st.none() | OBJECTS | st.just([]),
}

NAMES = {
    "activation": "name",
    "kernel_initializer": "name",
    "bias_initializer": "name",
    "kernel_regularizer": "name",
    "bias_regularizer": "name",
}
OURS = {
    "generator": "generator",
    "embedding_dim": "size or None",
    "composition": "choice",
    "dtype": "name",
}
CONV = {
    "filters": "size",
    "kernel_size": "sizes or one",
    "strides": "sizes or one",
    "dilation_rate": "sizes or one",
    "padding": "choice",
    "data_format": "choice or None",
    **NAMES,
    **OURS,
}
GROUPED = {**CONV, "groups": "size"}
NO_FILTERS = {k: v for k, v in CONV.items() if k != "filters" and "kernel_" not in k}
GENERATOR = {"embedding_dim": "size", "normalization": "choice or None"}
HYPER = {"hyper_units": "size", "embedding_dim": "size", "initialization": "choice"}
CELL = {"units": "size", **NAMES, "recurrent_initializer": "name"}
GATED = {"recurrent_activation": "name", "recurrent_dropout": "rate"}
HYPER_GATED = {**CELL, **HYPER, **GATED, "hyper_recurrent_dropout": "rate"}
LOOP = {"dropout": "rate"}

# The valid arguments of each class, and the kinds of those that can be wrong.
CLASSES = {
    HyperDense: ({"units": 3}, {"units": "size", **NAMES, **OURS}),
    HyperConv1D: ({"filters": 3, "kernel_size": 2}, GROUPED),
    HyperConv2D: ({"filters": 3, "kernel_size": 2}, GROUPED),
    HyperConv3D: ({"filters": 3, "kernel_size": 2}, GROUPED),
    HyperConv2DTranspose: ({"filters": 3, "kernel_size": 2}, CONV),
    HyperDepthwiseConv2D: (
        {"kernel_size": 2},
        {**NO_FILTERS, "kernel_size": "sizes or one", "depth_multiplier": "size"},
    ),
    HyperEmbedding: (
        {"input_dim": 4, "output_dim": 3},
        {"input_dim": "size", "output_dim": "size", "embeddings_initializer": "name", **OURS},
    ),
    HyperSimpleRNNCell: ({"units": 3}, {**CELL, **HYPER, "form": "choice"}),
    HyperGRUCell: ({"units": 3}, HYPER_GATED),
    HyperLSTMCell: ({"units": 3}, HYPER_GATED),
    LayerNormLSTMCell: ({"units": 3}, {**CELL, **GATED}),
    HyperSimpleRNN: ({"units": 3}, {**CELL, **HYPER, **LOOP, "form": "choice"}),
    HyperGRU: ({"units": 3}, {**HYPER_GATED, **LOOP}),
    HyperLSTM: ({"units": 3}, {**HYPER_GATED, **LOOP}),
    LayerNormLSTM: ({"units": 3}, {**CELL, **GATED, **LOOP}),
    LinearGenerator: ({}, {**GENERATOR, "initialization": "choice"}),
    MLPGenerator: (
        {},
        {
            **GENERATOR,
            "hidden_units": "sizes of layers",
            "activation": "name",
            "dropout": "rate",
            "initialization": "choice",
        },
    ),
    ChunkedGenerator: (
        {"chunk_size": 8},
        {
            **GENERATOR,
            "chunk_size": "size",
            "hidden_units": "sizes of layers",
            "activation": "name",
            "dropout": "rate",
        },
    ),
    LowRankGenerator: ({}, {**GENERATOR, "rank": "size"}),
    TemplateGenerator: (
        {},
        {
            "num_templates": "size",
            "coefficients": "choice",
            "temperature": "positive",
            "normalization": "choice or None",
        },
    ),
    TiledKernelGenerator: (
        {"tile": (2, 2)},
        {**GENERATOR, "tile": "sizes", "hidden_dim": "size or None", "initialization": "choice"},
    ),
    TaskEmbedding: ({"num_tasks": 3, "dim": 2}, {"num_tasks": "size", "dim": "size"}),
    NoiseCondition: ({"dim": 2}, {"dim": "size"}),
    MagnitudeInvariantEncoding: ({}, {"low": "numbers", "high": "numbers"}),
    GeneratedWeight: (
        {"generator": LinearGenerator(2), "weight_shape": (3, 2)},
        {
            "generator": "layer",
            "weight_shape": "sizes",
            "initializer": "name",
            "regularizer": "name",
            "composition": "choice",
        },
    ),
}


@st.composite
def constructions(draw):
    """Draws a constructor, and arguments of which one is wrong."""
    cls = draw(st.sampled_from(sorted(CLASSES, key=lambda cls: cls.__name__)))
    valid, kinds = CLASSES[cls]
    rule = draw(st.integers(0, 9))
    if rule == 0:
        return cls, (), {**valid, draw(WORDS): draw(st.integers())}
    if rule == 1 and valid:
        missing = draw(st.sampled_from(sorted(valid)))
        return cls, (), {k: v for k, v in valid.items() if k != missing}
    name = draw(st.sampled_from(sorted(kinds)))
    return cls, (), {**valid, name: draw(WRONG[kinds[name]])}


@functools.cache
def dense(condition):
    layer = HyperDense(3)
    layer.build((None, 4), None if condition is None else (None, condition))
    return layer


@functools.cache
def embedding():
    layer = HyperEmbedding(4, 3)
    layer.build((None, 5), (None, 2))
    return layer


@functools.cache
def conv(condition):
    layer = HyperConv2D(3, 2)
    layer.build((None, 5, 6, 4), None if condition is None else (None, condition))
    return layer


@functools.cache
def lstm():
    layer = HyperLSTM(3, hyper_units=2)
    layer.build((None, 5, 4))
    return layer


@functools.cache
def target():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])


@functools.cache
def hyper(condition):
    part = TaskEmbedding(3, 2) if condition == "tasks" else condition
    return Hypernetwork(target(), ChunkedGenerator(8, hidden_units=(4,)), part)


@functools.cache
def functional():
    inputs = keras.Input((2, 2, 4), name="image")
    model = keras.Model(inputs, keras.layers.Conv2D(3, 2)(inputs))
    return Hypernetwork(model, ChunkedGenerator(8, hidden_units=(4,)), 2)


def build_all():
    """Builds what is called, so that building it is no part of a call."""
    for condition in (None, 2):
        dense(condition), conv(condition), hyper(condition)
    embedding(), lstm(), target(), functional(), hyper("tasks")


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


def arrays(ranks, widths, dtype="float32"):
    """Draws arrays of ones of a rank and of a last axis."""
    return st.builds(
        lambda rank, width: ones(*[2] * (rank - 1), width, dtype=dtype),
        st.sampled_from(ranks),
        st.sampled_from(widths),
    )


NO_TENSOR = WORDS | OBJECTS
INTEGERS = st.sampled_from(["int32", "int64", "uint8", "bool"])
# A call of a built object, and the wrong values of one of its arguments.
CALLS = {
    "dense inputs": (
        lambda value: dense(None)(value),
        NO_TENSOR | arrays([1, 2, 3], [1, 3, 5]),
    ),
    "dense without a condition": (
        lambda value: dense(2)(value),
        arrays([2, 3], [4]),
    ),
    "dense with a needless condition": (
        lambda value: dense(None)(ones(2, 4), condition=value),
        NO_TENSOR | arrays([1, 2, 3], [1, 2]) | st.lists(st.integers(), min_size=1),
    ),
    "dense condition": (
        lambda value: dense(2)(ones(2, 4), condition=value),
        NO_TENSOR
        | arrays([1, 2], [1, 3, 4])
        | arrays([3, 4], [2])
        | INTEGERS.map(lambda t: ones(2, 2, dtype=t))
        | st.integers(3, 9).map(lambda n: ones(n, 2))
        | st.just(ones()),
    ),
    "dense generate": (
        lambda value: dense(2).generate(value),
        NO_TENSOR | st.none() | arrays([1, 2], [1, 3]) | arrays([3], [2]),
    ),
    "dense build": (
        lambda value: HyperDense(3).build(value),
        st.just((None, None)) | st.just(()),
    ),
    "conv build": (
        lambda value: HyperConv2D(3, 2).build(value),
        st.lists(st.just(4), max_size=3) | st.just((None, 5, 5, None)),
    ),
    "lstm build": (
        lambda value: HyperLSTM(3).build(value),
        st.lists(st.just(4), max_size=2) | st.just((None, 5, None)),
    ),
    "cell build": (
        lambda value: HyperLSTMCell(3).build(value),
        st.lists(st.just(4), max_size=1) | st.just((None, None)),
    ),
    "conv inputs": (
        lambda value: conv(None)(value),
        NO_TENSOR | arrays([2, 3, 5], [4]) | arrays([4], [1, 3, 5]),
    ),
    "conv condition": (
        lambda value: conv(2)(ones(2, 5, 6, 4), condition=value),
        NO_TENSOR | st.none() | arrays([1, 2], [1, 3]) | arrays([3], [2]),
    ),
    "conv too small": (
        lambda value: HyperConv2D(3, value)(ones(2, 3, 3, 1)),
        st.integers(4, 9),
    ),
    "embedding condition": (
        lambda value: embedding()(ones(2, 5, dtype="int32"), condition=value),
        NO_TENSOR | st.none() | arrays([1, 2], [1, 3]) | arrays([3], [2]),
    ),
    "lstm inputs": (
        lambda value: lstm()(value),
        NO_TENSOR | arrays([1, 2, 4], [4]) | arrays([3], [1, 3, 5]),
    ),
    "lstm states": (
        lambda value: lstm()(ones(2, 5, 4), initial_state=value),
        st.lists(arrays([2], [2, 3]), min_size=1, max_size=3) | arrays([2], [3]),
    ),
    "tasks": (
        lambda value: TaskEmbedding(3, 2)(value),
        st.integers(3, 9)
        | st.integers(-9, -1)
        | st.lists(st.integers(3, 9), min_size=1, max_size=3)
        | arrays([2], [2], "int32"),
    ),
    "hypernetwork inputs": (
        lambda value: hyper(None)(value),
        NO_TENSOR | arrays([1, 2, 3], [3, 5]) | arrays([3, 4], [4]),
    ),
    "hypernetwork functional inputs": (
        lambda value: functional()(value, ones(2)),
        NO_TENSOR
        | arrays([2, 3, 5], [4])
        | arrays([4], [3, 5])
        | st.builds(lambda x: [x, x], arrays([4], [4])),
    ),
    "hypernetwork condition": (
        lambda value: hyper(2)(ones(2, 4), value),
        NO_TENSOR | st.none() | arrays([1, 2], [1, 3]) | arrays([3], [2]),
    ),
    "hypernetwork without a condition": (
        lambda value: hyper(None)(ones(2, 4), value),
        arrays([1, 2], [1, 2]) | st.integers(),
    ),
    "hypernetwork task": (
        lambda value: hyper("tasks")(ones(2, 4), value),
        NO_TENSOR | st.none() | st.integers(3, 9) | st.integers(-9, -1) | arrays([1, 2], [2]),
    ),
    "hypernetwork bake": (
        lambda value: hyper("tasks").bake(value),
        NO_TENSOR | st.none() | st.integers(3, 9) | arrays([2], [2]),
    ),
    "hypernetwork at": (
        lambda value: hyper("tasks").at(value),
        NO_TENSOR | st.none() | st.integers(3, 9) | arrays([2], [2]),
    ),
    "hypernetwork generate": (
        lambda value: hyper(2).generate(value),
        NO_TENSOR | st.none() | arrays([1, 2], [1, 3]) | arrays([3], [2]),
    ),
    "hypernetwork target": (lambda value: Hypernetwork(value), NO_MODEL),
    "hypernetwork generator": (
        lambda value: Hypernetwork(target(), value),
        WRONG["generator"] | st.just({}) | st.dictionaries(WORDS, OBJECTS, min_size=1),
    ),
    "hypernetwork condition part": (
        lambda value: Hypernetwork(target(), condition=value),
        WORDS | FRACTIONS | TOO_SMALL | OBJECTS | st.just([]) | st.just(TaskEmbedding),
    ),
    "hypernetwork include": (
        lambda value: Hypernetwork(target(), include=value),
        WORDS | st.none() | st.integers() | OBJECTS | st.lists(WORDS | OBJECTS) | st.sets(WORDS),
    ),
    "hypernetwork composition": (
        lambda value: Hypernetwork(target(), composition=value),
        WRONG["choice"],
    ),
    "hypernetwork output_regularization": (
        lambda value: Hypernetwork(
            target(), condition=TaskEmbedding(3, 2), output_regularization=value
        ),
        WORDS | st.floats(max_value=-0.1) | st.just(float("nan")) | OBJECTS | st.just(True),
    ),
    "hypernetwork tasks": (
        lambda value: Hypernetwork(target(), **value),
        st.sampled_from([{"state_per_task": True}, {"output_regularization": 0.1}]),
    ),
    "plan budget": (lambda value: keras_hyper.plan(target(), value), WRONG["size"]),
    "plan target": (lambda value: keras_hyper.plan(value, 50), NO_MODEL),
    "plan kind": (lambda value: keras_hyper.plan(target(), 50, kind=value), WRONG["choice"]),
    "plan condition": (
        lambda value: keras_hyper.plan(target(), 50, condition_dim=value),
        WRONG["size or None"],
    ),
    "summary": (lambda value: keras_hyper.summary(value), NO_MODEL),
    "bake": (lambda value: keras_hyper.bake(value), NO_MODEL | st.builds(HyperDense, st.just(3))),
    "clone": (lambda value: keras_hyper.clone(value), NO_MODEL),
    "record_weights": (
        lambda value: keras_hyper.record_weights(value, ones(2, 5, 4)),
        NO_MODEL | st.builds(HyperLSTM, st.just(3)) | st.just(dense(None)),
    ),
    "record_weights sequences": (
        lambda value: keras_hyper.record_weights(lstm(), value),
        NO_TENSOR | arrays([1, 2, 4], [4]) | arrays([3], [1, 3, 5]),
    ),
    "kernels": (lambda value: visualize.kernels(value), NO_MODEL),
    "kernels most": (lambda value: visualize.kernels(ones(2, 2), most=value), WRONG["size"]),
    "embeddings": (lambda value: visualize.embeddings(value), NO_MODEL | arrays([1, 3], [2])),
    "sharing": (lambda value: visualize.sharing(value), NO_MODEL | st.builds(target)),
    "saturation": (lambda value: visualize.saturation(value), NO_MODEL | st.just({})),
    "weight_changes": (lambda value: visualize.weight_changes(value, "abc"), NO_MODEL),
}


@st.composite
def calls(draw):
    """Draws a call of a function or a built object with one wrong argument."""
    name = draw(st.sampled_from(sorted(CALLS)))
    function, values = CALLS[name]
    return name, function, (draw(values),)
