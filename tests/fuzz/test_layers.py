"""Random configurations of every layer equal the stock layer with the generated weights."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from fuzz.strategies import ACTIVATIONS, assert_close, generators, move, numbers
from helpers import to_numpy
from keras_hyper import (
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEmbedding,
)

COMPOSITIONS = st.sampled_from(["replace", "replace", "add", "multiply", "scale"])


@st.composite
def ours(draw, spatial=(), bias=True):
    """Draws the arguments that a stock layer does not have."""
    arguments = {"composition": draw(COMPOSITIONS)}
    if draw(st.booleans()):
        if arguments["composition"] == "scale":
            spatial = (1,) * len(spatial)
        cls, of_generator = draw(generators(spatial))
        arguments["generator"] = (cls, of_generator)
    if bias:
        arguments["generate_bias"] = draw(st.booleans())
    return arguments


@st.composite
def dense(draw):
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    stock = {"units": draw(st.integers(1, 7))}
    return shape, stock, draw(ours())


def size(rank, least=1, most=3):
    sizes = st.integers(least, most)
    return sizes | st.tuples(*[sizes] * rank)


def as_tuple(value, rank):
    return (value,) * rank if isinstance(value, int) else value


@st.composite
def conv(draw, rank, paddings=("valid", "same")):
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 2))
    stock = {
        "filters": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(size(rank)),
        "strides": draw(size(rank)),
        "padding": draw(st.sampled_from(paddings)),
        "groups": groups,
    }
    if draw(st.booleans()):
        stock["strides"] = 1
        stock["dilation_rate"] = draw(size(rank))
    shape = [*draw(st.tuples(*[st.integers(1, 9)] * rank)), channels]
    if draw(st.integers(0, 4)) == 0:
        stock["data_format"] = "channels_first"
        shape = [shape[-1], *shape[:-1]]
    return shape, stock, draw(ours(as_tuple(stock["kernel_size"], rank)))


@st.composite
def depthwise(draw):
    shape, stock, own = draw(conv(2))
    del stock["filters"], stock["groups"]
    stock["depth_multiplier"] = draw(st.integers(1, 3))
    return shape, stock, own


@st.composite
def transpose(draw):
    shape, stock, own = draw(conv(2))
    del stock["groups"]
    if draw(st.booleans()):
        stock["output_padding"] = draw(size(2, 0, 2))
    return shape, stock, own


@st.composite
def embedding(draw):
    stock = {
        "input_dim": draw(st.integers(1, 9)),
        "output_dim": draw(st.integers(1, 5)),
        "mask_zero": draw(st.booleans()),
    }
    shape = draw(st.lists(st.integers(1, 5), max_size=2))
    return shape, stock, draw(ours(bias=False))


CASES = {
    HyperDense: dense(),
    HyperConv1D: conv(1, ("valid", "same", "causal")),
    HyperConv2D: conv(2),
    HyperConv3D: conv(3),
    HyperDepthwiseConv2D: depthwise(),
    HyperConv2DTranspose: transpose(),
    HyperEmbedding: embedding(),
}


def made(cls, stock, own):
    """Returns a hyper layer, or what it raised because it cannot be."""
    own = dict(own)
    if "generator" in own:
        generator, arguments = own["generator"]
        own["generator"] = generator(**arguments)
    return cls(**stock, **own)


def twin(cls, stock, weights, inputs):
    """Returns the outputs of the stock layer that holds these weights."""
    layer = cls.stock(**stock)
    layer.build(inputs.shape)
    layer.set_weights(weights)
    return to_numpy(layer(inputs))


@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_equals_the_stock_layer(cls):
    @given(
        case=CASES[cls],
        activation=ACTIVATIONS,
        use_bias=st.booleans(),
        batch=st.integers(1, 3),
        condition=st.none() | st.tuples(st.booleans(), st.integers(1, 4)),
    )
    def check(case, activation, use_bias, batch, condition):
        shape, stock, own = case
        keras.utils.set_random_seed(0)
        if cls is HyperEmbedding:
            inputs = np.random.default_rng(0).integers(0, stock["input_dim"], (batch, *shape))
        else:
            stock = {**stock, "activation": activation, "use_bias": use_bias}
            own = {**own, "generate_bias": own["generate_bias"] and use_bias}
            inputs = numbers(0, (batch, *shape))
        if condition is not None:
            rows, dim = condition
            condition = numbers(1, (batch, dim) if rows else (dim,))
        try:
            shape = cls.stock(**stock)(inputs).shape
        except (ValueError, TypeError):
            # What the stock layer cannot do, ours must not do in silence.
            with pytest.raises((ValueError, TypeError)):
                made(cls, stock, own)(inputs, condition=condition)
            return
        except Exception:
            # Not a check of its arguments: what the backend itself cannot do.
            reject()
        assume(0 not in shape)  # An empty output raises.
        layer = made(cls, stock, own)
        outputs = layer(inputs, condition=condition)
        move(layer, 2)
        outputs = to_numpy(layer(inputs, condition=condition))
        assert tuple(layer.compute_output_shape(inputs.shape)) == outputs.shape
        weights = [to_numpy(w) for w in layer.generate(condition).values()]
        if condition is None or condition.ndim == 1:
            expected = twin(cls, stock, weights, inputs)
        else:
            # A weight that is not generated is one for all samples.
            each = [
                [w[i] if made_for_each(layer, n) else w for n, w in enumerate(weights)]
                for i in range(batch)
            ]
            expected = np.concatenate(
                [twin(cls, stock, w, inputs[i : i + 1]) for i, w in enumerate(each)]
            )
        assert_close(outputs, expected)

    check()


def made_for_each(layer, index):
    return index == 0 or layer.bias_weight is not None
