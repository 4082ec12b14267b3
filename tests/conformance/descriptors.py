"""The table of conformance: one row for each public class and way to use it.

Every test in this folder runs one property over all rows. A new layer is one
new row.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_hyper import (
    HyperConv2D,
    HyperDense,
    LinearGenerator,
    MLPGenerator,
    TaskEmbedding,
    TiledKernelGenerator,
)
from keras_hyper.generators import DirectGenerator


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer and the shapes of its inputs, without the batch axis."""

    name: str
    make: Callable[..., keras.layers.Layer]
    inputs: tuple[int, ...]
    condition: tuple[int, ...] | None = None
    dtype: str = "float32"

    def shapes(self, batch=None):
        """Returns the arguments of `build`."""
        shapes = {"inputs_shape": (batch, *self.inputs)}
        if self.condition is not None:
            shapes["condition_shape"] = (batch, *self.condition)
        return shapes

    def data(self, batch, seed=0, dtype=None):
        """Returns the arguments of a call, drawn at random."""
        rng = np.random.default_rng(seed)
        if self.dtype != "float32":
            return {"inputs": rng.integers(0, 4, (batch, *self.inputs)).astype(self.dtype)}
        shapes = {"inputs": self.inputs, "condition": self.condition}
        return {
            name: rng.normal(size=(batch, *shape)).astype(dtype or "float32")
            for name, shape in shapes.items()
            if shape is not None
        }

    def model(self, layer=None):
        """Returns a functional model of the layer alone."""
        layer = layer or self.make()
        inputs = {"inputs": keras.Input(self.inputs, name="inputs", dtype=self.dtype)}
        if self.condition is not None:
            inputs["condition"] = keras.Input(self.condition, name="condition")
        if len(inputs) == 1:
            return keras.Model(inputs, layer(inputs["inputs"]))
        return keras.Model(inputs, layer(inputs["inputs"], condition=inputs["condition"]))


def tiles():
    return TiledKernelGenerator(tile=(3, 2), embedding_dim=3)


def kernels():
    return TiledKernelGenerator(tile=(3, 3, 2, 4), embedding_dim=3)


# Sigmoids, because Keras's tanh rounds float64 to float32 on JAX.
def mlp():
    return MLPGenerator(hidden_units=(6, 7), activation="sigmoid", embedding_dim=4)


def dense(**kwargs):
    return lambda: HyperDense(4, activation="sigmoid", **build(kwargs))


def conv(size=3, **kwargs):
    return lambda: HyperConv2D(4, size, **build(kwargs))


def build(kwargs):
    """Makes the generator anew for each layer, where a function for it is given."""
    return {k: v() if k == "generator" else v for k, v in kwargs.items()}


LAYERS = [
    Row("dense", dense(), (5,)),
    Row("dense-direct", dense(generator=DirectGenerator), (5,)),
    Row("dense-linear", dense(generator=LinearGenerator), (5,)),
    Row("dense-mlp", dense(generator=mlp, kernel_initializer="orthogonal"), (5,)),
    Row("dense-tiled", dense(generator=tiles, generate_bias=True), (5,)),
    Row("dense-conditioned", dense(), (12,), (3,)),
    Row("dense-conditioned-linear", dense(generator=LinearGenerator), (12,), (3,)),
    Row("dense-conditioned-mlp", dense(generator=mlp, kernel_regularizer="l2"), (5,), (3,)),
    Row("dense-conditioned-tiled", dense(generator=tiles, generate_bias=True), (2, 5), (3,)),
    Row("conv", conv(padding="same", kernel_regularizer="l1"), (6, 7, 2)),
    Row("conv-linear", conv(generator=LinearGenerator, use_bias=False), (6, 7, 2)),
    Row("conv-tiled", conv(generator=kernels, strides=2, groups=2), (6, 7, 4)),
    Row("conv-conditioned", conv(padding="same", generate_bias=True), (6, 7, 2), (3,)),
    Row("conv-conditioned-linear", conv(2, generator=LinearGenerator, strides=2), (6, 7, 2), (3,)),
    Row(
        "conv-conditioned-tiled",
        conv(generator=kernels, groups=2, dilation_rate=2, padding="same"),
        (6, 7, 4),
        (3,),
    ),
]
TASKS = Row("task-embedding", lambda: TaskEmbedding(4, 3), (), dtype="int32")
ROWS = [*LAYERS, TASKS]


def over(rows):
    """Runs a test once for each row."""
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])
