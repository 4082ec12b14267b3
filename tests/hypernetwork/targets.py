"""Targets of every kind, each beside the same function written by hand.

A reference takes the weights by path, the inputs, and returns what the target
does in training (without dropout).
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from keras import layers, ops


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of target, with a few words for the table in the guide."""

    name: str
    text: str
    make: Callable[[], keras.layers.Layer]
    inputs: Callable[[np.random.Generator, int], object]
    reference: Callable[[dict, object], object]
    # Why weights of each sample's own are refused in training; empty if they are not.
    refused: str = ""


def normal(*shape):
    return lambda rng, batch: rng.normal(size=(batch, *shape)).astype("float32")


def dense(w, name, x):
    return ops.matmul(x, w[f"{name}/kernel"]) + w[f"{name}/bias"]


def make_dense():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, activation="tanh", name="a"),
            layers.Dense(3, name="b"),
        ]
    )


def reference_dense(w, x):
    return dense(w, "b", ops.tanh(dense(w, "a", x)))


def make_conv():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, padding="same", name="conv"),
            layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
            layers.Conv2DTranspose(2, 2, strides=2, activation="tanh", name="transpose"),
            layers.SeparableConv2D(3, 3, name="separable"),
            layers.GlobalAveragePooling2D(),
        ]
    )


def reference_conv(w, x):
    x = ops.conv(x, w["conv/kernel"], padding="same") + w["conv/bias"]
    x = ops.depthwise_conv(x, w["depthwise/kernel"], padding="same") + w["depthwise/bias"]
    x = ops.conv_transpose(x, w["transpose/kernel"], strides=2, padding="valid")
    x = ops.tanh(x + w["transpose/bias"])
    x = ops.depthwise_conv(x, w["separable/depthwise_kernel"])
    x = ops.conv(x, w["separable/pointwise_kernel"]) + w["separable/bias"]
    return ops.mean(x, axis=(1, 2))


def make_conv1d_3d():
    volume = keras.Input((3, 3, 3, 2))
    x = layers.Conv3D(4, 2, name="conv3d")(volume)
    x = layers.Reshape((8, 4))(x)
    return keras.Model(volume, layers.Conv1D(3, 3, activation="tanh", name="conv1d")(x))


def reference_conv1d_3d(w, x):
    x = ops.conv(x, w["conv3d/kernel"]) + w["conv3d/bias"]
    x = ops.reshape(x, (-1, 8, 4))
    return ops.tanh(ops.conv(x, w["conv1d/kernel"]) + w["conv1d/bias"])


def make_normalized():
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, name="a"),
            layers.BatchNormalization(momentum=0.5, name="norm"),
            layers.Dense(3, name="b"),
        ]
    )


def reference_normalized(w, x):
    x = dense(w, "a", x)
    x = (x - ops.mean(x, axis=0)) / ops.sqrt(ops.var(x, axis=0) + 1e-3)
    return dense(w, "b", x * w["norm/gamma"] + w["norm/beta"])


def make_embedding():
    return keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(7, 3, name="table"),
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ]
    )


def reference_embedding(w, ids):
    rows = ops.take(w["table/embeddings"], ids, axis=0)
    return dense(w, "head", ops.reshape(rows, (-1, 12)))


def make_lstm():
    return keras.Sequential(
        [
            keras.Input((3, 2)),
            layers.LSTM(4, use_cudnn=False, name="lstm"),
            layers.Dense(2, name="head"),
        ]
    )


def reference_lstm(w, x):
    prefix = "lstm/lstm_cell/"
    kernel, recurrent = w[f"{prefix}kernel"], w[f"{prefix}recurrent_kernel"]
    h = c = ops.zeros((x.shape[0], 4))
    for t in range(3):
        z = ops.matmul(x[:, t], kernel) + ops.matmul(h, recurrent) + w[f"{prefix}bias"]
        i, f, g, o = ops.split(z, 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        h = ops.sigmoid(o) * ops.tanh(c)
    return dense(w, "head", h)


def make_attention():
    x = keras.Input((4, 6))
    y = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    y = layers.LayerNormalization(name="norm")(layers.Add()([x, y]))
    return keras.Model(x, layers.Dense(2, name="head")(y))


def reference_attention(w, x):
    def project(name):
        kernel, bias = w[f"attention/{name}/kernel"], w[f"attention/{name}/bias"]
        return ops.einsum("btd,dhk->bthk", x, kernel) + bias

    scores = ops.einsum("bqhk,bthk->bhqt", project("query") / np.sqrt(3), project("key"))
    mixed = ops.einsum("bhqt,bthk->bqhk", ops.softmax(scores, axis=-1), project("value"))
    kernel, bias = w["attention/attention_output/kernel"], w["attention/attention_output/bias"]
    y = x + ops.einsum("bqhk,hkd->bqd", mixed, kernel) + bias
    y = (y - ops.mean(y, axis=-1, keepdims=True)) / ops.sqrt(
        ops.var(y, axis=-1, keepdims=True) + 1e-3
    )
    return dense(w, "head", y * w["norm/gamma"] + w["norm/beta"])


def make_several():
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    x = layers.Dense(5, activation="tanh", name="left")(a)
    x = layers.Add()([x, layers.Dense(5, name="right")(b)])
    outputs = {"p": layers.Dense(2, name="p")(x), "q": layers.Dense(3, name="q")(x)}
    return keras.Model({"a": a, "b": b}, outputs)


def several_inputs(rng, batch):
    return {"a": normal(3)(rng, batch), "b": normal(4)(rng, batch)}


def reference_several(w, x):
    y = ops.tanh(dense(w, "left", x["a"])) + dense(w, "right", x["b"])
    return {"p": dense(w, "p", y), "q": dense(w, "q", y)}


@keras.saving.register_keras_serializable("targets")
class Residual(keras.Model):
    """A subclassed model: layers in a list, a number of its own, built by its first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [layers.Dense(5, name=f"block_{i}") for i in range(2)]
        self.gain = self.add_weight(name="gain", shape=(), initializer="ones")

    def call(self, inputs):
        for block in self.blocks:
            inputs = inputs + self.gain * ops.tanh(block(inputs))
        return inputs


def reference_residual(w, x):
    for i in range(2):
        x = x + w["gain"] * ops.tanh(dense(w, f"block_{i}", x))
    return x


def make_nested():
    inner = keras.Sequential([layers.Dense(5, activation="tanh", name="a")], name="inner")
    x = keras.Input((5,))
    # One layer that is called twice, inside a model in a model.
    return keras.Model(x, layers.Dense(2, name="head")(inner(inner(x))))


def reference_nested(w, x):
    for _ in range(2):
        x = ops.tanh(dense(w, "inner/a", x))
    return dense(w, "head", x)


BATCH_STATISTICS = "state that the target changes"

KINDS = [
    Kind("dense", "Dense", make_dense, normal(5), reference_dense),
    Kind(
        "conv",
        "Conv2D, DepthwiseConv2D, Conv2DTranspose, SeparableConv2D",
        make_conv,
        normal(6, 6, 2),
        reference_conv,
    ),
    Kind(
        "conv1d-conv3d", "Conv1D, Conv3D", make_conv1d_3d, normal(3, 3, 3, 2), reference_conv1d_3d
    ),
    Kind(
        "batchnorm",
        "BatchNormalization",
        make_normalized,
        normal(5),
        reference_normalized,
        BATCH_STATISTICS,
    ),
    Kind(
        "embedding",
        "Embedding",
        make_embedding,
        lambda rng, batch: rng.integers(0, 7, (batch, 4)).astype("int32"),
        reference_embedding,
    ),
    Kind("lstm", "LSTM", make_lstm, normal(3, 2), reference_lstm),
    Kind(
        "attention",
        "MultiHeadAttention, LayerNormalization",
        make_attention,
        normal(4, 6),
        reference_attention,
    ),
    Kind("several", "several inputs and outputs", make_several, several_inputs, reference_several),
    Kind("subclassed", "subclassed model", Residual, normal(5), reference_residual),
    Kind("nested", "nested models, a layer called twice", make_nested, normal(5), reference_nested),
    Kind(
        "layer",
        "a single layer",
        lambda: layers.Dense(3, name="only"),
        normal(5),
        lambda w, x: dense(w, "only", x),
    ),
]
