"""Each layer of the table, applied with given weights, is the stock layer with those weights."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import to_numpy
from keras_hyper.application import WeightInjection, application_of, axes_of
from keras_hyper.kernels import Full, Grouped, LowRank, Mixture, Scaled, Sum
from keras_hyper.utils.graph import named_weights

BATCH = 3


class Case:
    """A layer with inputs, and the arguments of its call."""

    def __init__(self, make, shape, ids=0, **kwargs):
        self.make, self.shape, self.ids, self.kwargs = make, shape, ids, kwargs

    def inputs(self, rng):
        if self.ids:
            return rng.integers(0, self.ids, size=(BATCH, *self.shape)).astype("int32")
        return rng.normal(size=(BATCH, *self.shape)).astype("float32")


def einsum(equation, shape, bias=None, **kwargs):
    return lambda: layers.EinsumDense(equation, shape, bias_axes=bias, **kwargs)


CASES = {
    "Dense": Case(lambda: layers.Dense(4, activation="tanh"), (5,)),
    "Dense of sequences": Case(lambda: layers.Dense(4), (6, 5)),
    "EinsumDense": Case(einsum("ab,bc->ac", 4, "c"), (5,)),
    "query": Case(einsum("abc,cde->abde", (None, 2, 4), "de"), (6, 5)),
    "output": Case(einsum("abcd,cde->abe", (None, 4), "e"), (6, 2, 3)),
    "Gemma's query": Case(einsum("btd,ndh->btnh", (None, 2, 4)), (6, 5)),
    "Gemma's output": Case(einsum("btnh,nhd->btd", (None, 4)), (6, 2, 3)),
    "ellipsis": Case(einsum("...x,xy->...y", 4, "y"), (6, 5)),
    "transposed": Case(einsum("abc,cd->adb", (4, None), "d"), (6, 5)),
    "experts": Case(einsum("abc,bcd->abd", (3, 4), "bd"), (3, 5)),
    "summed axis not last": Case(einsum("abc,bd->acd", (5, 4)), (3, 5)),
    "summed axis": Case(einsum("abc,cd->ad", 4), (3, 5)),
    "a factor for each": Case(einsum("abc,bc->abc", (3, 5)), (3, 5)),
    "Embedding": Case(lambda: layers.Embedding(7, 4), (6,), ids=7),
    "ReversibleEmbedding": Case(lambda: layers.ReversibleEmbedding(7, 4), (6,), ids=7),
    "tied logits": Case(lambda: Reversed(7, 4), (6, 4)),
    "untied logits": Case(lambda: Reversed(7, 4, tie_weights=False), (6, 4)),
    "capped logits": Case(lambda: Reversed(7, 4, logit_soft_cap=2.0), (6, 4)),
    "logits of a dtype": Case(lambda: Reversed(7, 4, reverse_dtype="float64"), (6, 4)),
    "Conv1D": Case(lambda: layers.Conv1D(4, 3, padding="causal"), (8, 5)),
    "Conv1D of distant inputs": Case(
        lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (8, 5)
    ),
    "Conv2D": Case(lambda: layers.Conv2D(4, 3, strides=2, activation="relu"), (8, 8, 3)),
    "Conv2D of groups": Case(lambda: layers.Conv2D(4, 3, groups=2), (6, 6, 4)),
    "Conv3D": Case(lambda: layers.Conv3D(4, 2), (4, 4, 4, 2)),
    "Conv1DTranspose": Case(lambda: layers.Conv1DTranspose(4, 3, strides=2), (5, 3)),
    "Conv2DTranspose": Case(lambda: layers.Conv2DTranspose(4, 3, padding="same"), (5, 5, 3)),
    "DepthwiseConv1D": Case(lambda: layers.DepthwiseConv1D(3), (8, 4)),
    "DepthwiseConv2D": Case(lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 3)),
    "SeparableConv1D": Case(lambda: layers.SeparableConv1D(4, 3), (8, 5)),
    "SeparableConv2D": Case(lambda: layers.SeparableConv2D(4, 3, strides=2), (8, 8, 3)),
    "SeparableConv1D of distant inputs": Case(
        lambda: layers.SeparableConv1D(4, 3, padding="same", dilation_rate=2), (8, 5)
    ),
    "LayerNormalization": Case(layers.LayerNormalization, (6, 5)),
    "LayerNormalization of two axes": Case(lambda: layers.LayerNormalization(axis=[1, 2]), (6, 5)),
    "RMSNormalization": Case(layers.RMSNormalization, (6, 5)),
    "GroupNormalization": Case(lambda: layers.GroupNormalization(2), (6, 4)),
    "BatchNormalization": Case(layers.BatchNormalization, (6, 4)),
    "BatchNormalization of axis 1": Case(lambda: layers.BatchNormalization(axis=1), (6, 4)),
    "PReLU": Case(lambda: layers.PReLU(shared_axes=[1]), (6, 4)),
    "LSTM": Case(lambda: layers.LSTM(4, return_sequences=True), (5, 3)),
    "LSTM with cuDNN's defaults": Case(lambda: layers.LSTM(4, use_cudnn="auto"), (5, 3)),
    "GRU": Case(lambda: layers.GRU(4), (5, 3)),
    "GRU, reset before": Case(lambda: layers.GRU(4, reset_after=False), (5, 3)),
    "SimpleRNN": Case(lambda: layers.SimpleRNN(4), (5, 3)),
    "RNN of cells": Case(lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)]), (5, 3)),
    "Bidirectional": Case(lambda: layers.Bidirectional(layers.GRU(4)), (5, 3)),
    "TimeDistributed": Case(lambda: layers.TimeDistributed(layers.Dense(4)), (6, 5)),
    "MultiHeadAttention": Case(lambda: Attending(layers.MultiHeadAttention(2, 3)), (6, 5)),
    "GroupQueryAttention": Case(lambda: Attending(layers.GroupQueryAttention(3, 4, 2)), (6, 5)),
}


class Attending(layers.Layer):
    """Self-attention with one argument."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, inputs):
        return self.attention(inputs, inputs)


class Reversed(layers.ReversibleEmbedding):
    """Logits of vectors, as of any other layer."""

    def __call__(self, inputs):
        return super().__call__(inputs, reverse=True)


def low_rank(rng, shape, batched):
    if len(shape) < 2:
        return full(rng, shape, batched)
    lead = (BATCH,) if batched else ()
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    left, right = rng.normal(size=(*lead, rows, 2)), rng.normal(size=(*lead, 2, columns))
    kernel = LowRank(*(ops.convert_to_tensor(x.astype("float32")) for x in (left, right)), shape)
    return Sum(tensor(rng, shape), kernel)


def scaled(rng, shape, batched, units=(-1,)):
    units = {axis % len(shape) for axis in units}
    ones = tuple(n if axis in units else 1 for axis, n in enumerate(shape))
    factors = tensor(rng, ((BATCH,) if batched else ()) + ones)
    return Scaled(tensor(rng, shape), factors, tuple(units))


def mixture(rng, shape, batched):
    if not batched:
        return full(rng, shape, batched)
    return Mixture(tensor(rng, (3, *shape)), tensor(rng, (BATCH, 3)), tensor(rng, shape))


def full(rng, shape, batched):
    return Full(tensor(rng, ((BATCH,) if batched else ()) + tuple(shape)), batched)


def tensor(rng, shape):
    return ops.convert_to_tensor(rng.normal(size=shape).astype("float32") / 2)


KERNELS = {"low rank": low_rank, "scaled": scaled, "mixture": mixture, "full": full}


@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("case", CASES)
def test_a_weight_can_be_for_several_samples_in_a_row(case, kind, rng):
    case = CASES[case]
    layer, x = case.make(), np.concatenate([case.inputs(rng) for _ in range(2)])
    layer(x)
    kernels = {w.path: given(kind, rng, w, True) for w in generated_names(layer)}
    with injected(layer, {path: Grouped(kernel, 2) for path, kernel in kernels.items()}):
        together = to_numpy(layer(x))
    with injected(layer, {path: kernel.repeated(2) for path, kernel in kernels.items()}):
        np.testing.assert_allclose(together, to_numpy(layer(x)), rtol=2e-4, atol=2e-5)
    every = [x[i::2] for i in range(2)]
    for i, some in enumerate(every):
        with injected(layer, kernels):
            np.testing.assert_allclose(together[i::2], to_numpy(layer(some)), rtol=2e-4, atol=2e-5)


def given(kind, rng, weight, batched):
    options = {}
    if kind == "scaled":
        options["units"] = axes_of(weight.layers[-1], weight.variable.name)[1]
    return KERNELS[kind](rng, tuple(weight.variable.shape), batched, **options)


def refuse(path, value):
    raise AssertionError(f"{path} was written")


@contextlib.contextmanager
def injected(layer, kernels):
    every = [w for w in named_weights(layer) if w.path in kernels]
    injection = WeightInjection(layer, every, [], keras.random.SeedGenerator(0))
    with injection.weights(kernels, {}, refuse):
        yield


def generated_names(layer):
    return [w for w in named_weights(layer) if not w.variable.name.startswith("moving")]


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("kind", KERNELS)
@pytest.mark.parametrize("case", CASES)
def test_a_layer_with_given_weights_is_the_layer_with_those_values(case, kind, batched, rng):
    case = CASES[case]
    layer, x = case.make(), case.inputs(rng)
    plain = to_numpy(layer(x))
    weights = {}
    for w in generated_names(layer):
        weights[w.path] = (w.variable, given(kind, rng, w, batched))
    with injected(layer, {path: kernel for path, (_, kernel) in weights.items()}):
        outputs = to_numpy(layer(x))
    np.testing.assert_array_equal(to_numpy(layer(x)), plain)
    assert not {"call", "inner_loop", "rematerialized_call"} & set(vars(layer))
    rows = []
    for i in range(BATCH):
        for variable, kernel in weights.values():
            value = to_numpy(kernel.materialize())
            variable.assign(value[i] if batched else value)
        rows.append(to_numpy(layer(x[i : i + 1])))
    np.testing.assert_allclose(outputs, np.concatenate(rows), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("case", ["Dense", "query", "Conv2D", "LayerNormalization", "Embedding"])
def test_a_subclass_with_a_call_of_its_own_is_not_in_the_table(case):
    layer = CASES[case].make()
    assert application_of(layer) is not None
    same = type("Same", (type(layer),), {})
    other = type("Other", (type(layer),), {"call": lambda self, inputs: inputs})
    layer.__class__ = same
    assert application_of(layer) is not None
    layer.__class__ = other
    assert application_of(layer) is None


def test_a_subclass_with_a_convolution_of_its_own_is_not_in_the_table():
    class Doubled(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return 2 * super().convolution_op(inputs, kernel)

    assert application_of(Doubled(4, 3)) is None


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_ids_of_any_dtype_are_looked_up(dtype, batched, rng):
    layer, ids = layers.Embedding(7, 4), rng.integers(0, 7, size=(BATCH, 6))
    layer(ids.astype("int32"))
    kernels = {"embeddings": low_rank(rng, (7, 4), batched)}
    with injected(layer, kernels):
        expected = to_numpy(layer(ids.astype("int32")))
    with injected(layer, kernels):
        np.testing.assert_array_equal(to_numpy(layer(ids.astype(dtype))), expected)


@pytest.mark.parametrize("kind", ["full", "low rank"])
def test_one_tensor_for_the_batch_goes_through_the_call_of_the_layer(kind, monkeypatch, rng):
    calls, call = [], layers.Dense.call

    def spy(self, *args, **kwargs):
        calls.append(self)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(layers.Dense, "call", spy)
    layer = layers.Dense(4, use_bias=False)
    layer.build((None, 5))
    with injected(layer, {"kernel": KERNELS[kind](rng, (5, 4), False)}):
        layer(np.ones((BATCH, 5), "float32"))
    assert len(calls) == (kind == "full")


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="not on a CPU of TensorFlow's")
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("cls", [layers.Conv2D, layers.Conv2DTranspose, layers.SeparableConv2D])
def test_channels_may_come_first(cls, batched, rng):
    layer = cls(4, 3, strides=2, data_format="channels_first")
    x = rng.normal(size=(BATCH, 3, 6, 6)).astype("float32")
    layer(x)
    weights = {
        w.path: (w.variable, given("low rank", rng, w, batched)) for w in named_weights(layer)
    }
    with injected(layer, {path: kernel for path, (_, kernel) in weights.items()}):
        outputs = to_numpy(layer(x))
    for i in range(BATCH):
        for variable, kernel in weights.values():
            value = to_numpy(kernel.materialize())
            variable.assign(value[i] if batched else value)
        expected = to_numpy(layer(x[i : i + 1]))
        np.testing.assert_allclose(outputs[i : i + 1], expected, rtol=2e-4, atol=2e-5)
