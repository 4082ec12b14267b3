"""The table of conformance: one row for each public class and way to use it.

Every test in this folder runs one property over all rows, or, if it is slow and
about the class alone, over `CLASSES`. A new layer is one new row.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT
from keras_hyper import (
    AdapterMask,
    ChunkedGenerator,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEinsumDense,
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
)
from keras_hyper.conditions import JoinedCondition
from keras_hyper.generators import DirectGenerator


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer and the shapes of its inputs, without the batch axis."""

    name: str
    make: Callable[..., keras.layers.Layer]
    inputs: tuple[int, ...]
    condition: tuple[int, ...] | None = None
    dtype: str = "float32"
    # How much more half precision may cost, where two factors are both rounded.
    rounding: float = 1.0
    # False where Keras itself computes in float32 inside.
    float64: bool = True
    # How `call` names its first argument.
    argument: str = "inputs"
    # A variant of another row: only configuration, gradients, training, prediction
    # and files are tested.
    variant: bool = False

    def shapes(self, batch=None):
        """Returns the arguments of `build`."""
        shapes = {f"{self.argument}_shape": (batch, *self.inputs)}
        if self.condition is not None:
            shapes["condition_shape"] = (batch, *self.condition)
        return shapes

    def data(self, batch, seed=0, dtype=None):
        """Returns the arguments of a call, drawn at random."""
        rng = np.random.default_rng(seed)
        shapes = {self.argument: self.inputs, "condition": self.condition}
        data = {
            name: rng.normal(size=(batch, *shape)).astype(dtype or "float32")
            for name, shape in shapes.items()
            if shape is not None
        }
        if self.dtype != "float32":
            data[self.argument] = rng.integers(0, 4, (batch, *self.inputs)).astype(self.dtype)
        return data

    def model(self, layer=None):
        """Returns a functional model of the layer alone."""
        layer = layer or self.make()
        name = self.argument
        inputs = {name: keras.Input(self.inputs, name=name, dtype=self.dtype)}
        if self.condition is None:
            model = keras.Model(inputs, layer(inputs[name]))
        else:
            inputs["condition"] = keras.Input(self.condition, name="condition")
            model = keras.Model(inputs, layer(inputs[name], condition=inputs["condition"]))
        leave_start(model)
        return model

    def built(self):
        """Returns the layer, built."""
        layer = self.make()
        if not layer.built:  # A hypernetwork over a built target is.
            layer.build(**self.shapes())
        leave_start(layer)
        return layer


def leave_start(layer):
    """Moves what the paper starts at zero in recurrent cells.

    Outputs do not depend on the hyper cell before, and it has no gradient.
    """
    for variable in layer.trainable_variables:
        if variable.name in ("embedding_kernel", "bias_scale_kernel"):
            numbers = np.cos(np.arange(np.prod(variable.shape))).reshape(variable.shape)
            variable.assign(variable.numpy() + 0.5 * numbers)


def tiles():
    return TiledKernelGenerator(tile=(3, 2), embedding_dim=3)


def kernels():
    return TiledKernelGenerator(tile=(3, 3, 2, 4), embedding_dim=3)


# Sigmoids, because Keras's tanh rounds float64 to float32 on JAX.
def mlp():
    return MLPGenerator(hidden_units=(6, 7), activation="sigmoid", embedding_dim=4)


def chunked():
    return ChunkedGenerator(7, hidden_units=(6,), activation="sigmoid", embedding_dim=3)


def low_rank():
    return LowRankGenerator(2, 3)


def templates(coefficients="linear", **kwargs):
    return lambda: TemplateGenerator(3, coefficients, **kwargs)


def normalized(normalization):
    return lambda: LinearGenerator(3, normalization=normalization)


def layer(cls, *args, **kwargs):
    return lambda: cls(*args, **build(kwargs))


def dense(**kwargs):
    return layer(HyperDense, 4, activation="sigmoid", **kwargs)


def conv(size=3, **kwargs):
    return layer(HyperConv2D, 4, size, activation="sigmoid", **kwargs)


def build(kwargs):
    """Makes the generator anew for each layer, where a function for it is given."""
    return {k: v() if k == "generator" else v for k, v in kwargs.items()}


LAYERS = [
    Row("dense", dense(), (5,)),
    Row("dense-direct", dense(generator=DirectGenerator), (5,), variant=True),
    Row("dense-linear", dense(generator=LinearGenerator), (5,)),
    Row("dense-mlp", dense(generator=mlp, kernel_initializer="orthogonal"), (5,)),
    Row("dense-tiled", dense(generator=tiles, generate_bias=True), (5,)),
    Row("dense-conditioned", dense(), (12,), (3,)),
    Row("dense-conditioned-linear", dense(generator=LinearGenerator), (12,), (3,), variant=True),
    Row("dense-conditioned-mlp", dense(generator=mlp, kernel_regularizer="l2"), (5,), (3,)),
    Row("dense-conditioned-tiled", dense(generator=tiles, generate_bias=True), (2, 5), (3,)),
    Row("conv", conv(padding="same", kernel_regularizer="l1"), (6, 7, 2)),
    Row("conv-linear", conv(generator=LinearGenerator, use_bias=False), (6, 7, 2), variant=True),
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
# One row at least for each new class, and for each way to compose and normalise.
LAYERS += [
    Row("dense-chunked", dense(generator=chunked), (5,)),
    Row("dense-low-rank", dense(generator=low_rank), (5,), variant=True),
    Row("dense-templates", dense(generator=templates("softmax")), (5,), variant=True),
    Row("dense-add", dense(composition="add"), (5,), variant=True),
    Row("dense-multiply", dense(composition="multiply", generator=chunked), (5,), variant=True),
    Row("dense-scale", dense(composition="scale"), (5,)),
    Row("dense-layer-norm", dense(generator=normalized("layer")), (5,), variant=True),
    Row("dense-weight-norm", dense(generator=normalized("weight")), (5,), variant=True),
    Row("dense-conditioned-chunked", dense(generator=chunked), (5,), (3,), variant=True),
    Row("dense-conditioned-low-rank", dense(generator=low_rank), (12,), (3,), rounding=2),
    Row(
        "dense-conditioned-low-rank-3d",
        dense(generator=low_rank),
        (2, 12),
        (3,),
        rounding=2,
        variant=True,
    ),
    Row("dense-conditioned-templates", dense(generator=templates()), (5,), (3,)),
    Row(
        "dense-conditioned-experts",
        dense(generator=templates("sigmoid", normalize_condition=False)),
        (5,),
        (3,),
        variant=True,
    ),
    Row("dense-conditioned-add", dense(composition="add", generator=low_rank), (5,), (3,)),
    Row("dense-conditioned-add-full", dense(composition="add"), (2, 5), (3,), variant=True),
    Row(
        "dense-conditioned-multiply",
        dense(composition="multiply", generator=LinearGenerator),
        (5,),
        (3,),
        variant=True,
    ),
    Row("dense-conditioned-scale", dense(composition="scale", kernel_regularizer="l2"), (5,), (3,)),
    Row("dense-conditioned-rms", dense(generator=normalized("rms")), (5,), (3,), variant=True),
    Row("conv-templates", conv(generator=templates(), padding="same"), (6, 7, 2), variant=True),
    Row(
        "conv-conditioned-low-rank",
        conv(generator=low_rank),
        (6, 7, 2),
        (3,),
        rounding=2,
        variant=True,
    ),
    Row(
        "conv-conditioned-scale", conv(composition="scale", groups=2), (6, 7, 4), (3,), variant=True
    ),
    Row("conv-conditioned-add", conv(composition="add"), (6, 7, 2), (3,), variant=True),
    Row(
        "conv-conditioned-weight-norm",
        conv(generator=normalized("weight"), composition="multiply"),
        (6, 7, 2),
        (3,),
        variant=True,
    ),
    Row(
        "conv1d", layer(HyperConv1D, 4, 3, padding="causal", dilation_rate=2), (8, 2), variant=True
    ),
    Row("conv1d-conditioned", layer(HyperConv1D, 4, 3, strides=2), (8, 2), (3,)),
    Row("conv3d", layer(HyperConv3D, 2, 2, generator=chunked), (4, 3, 3, 2), variant=True),
    Row("conv3d-conditioned", layer(HyperConv3D, 2, 2, padding="same"), (4, 3, 3, 2), (3,)),
    Row("depthwise", layer(HyperDepthwiseConv2D, 3, generate_bias=True), (5, 6, 2)),
    Row(
        "depthwise-conditioned",
        layer(HyperDepthwiseConv2D, 3, strides=2, padding="same", depth_multiplier=2),
        (5, 6, 2),
        (3,),
    ),
    Row(
        "depthwise-conditioned-scale",
        layer(HyperDepthwiseConv2D, 3, depth_multiplier=2, composition="scale"),
        (5, 6, 2),
        (3,),
        variant=True,
    ),
    Row("transpose", layer(HyperConv2DTranspose, 3, 3, strides=2, padding="same"), (3, 4, 2)),
    Row(
        "transpose-conditioned",
        layer(HyperConv2DTranspose, 3, 3, strides=2, generate_bias=True),
        (3, 4, 2),
        (3,),
    ),
    Row(
        "transpose-conditioned-scale",
        layer(HyperConv2DTranspose, 3, 2, composition="scale"),
        (3, 4, 2),
        (3,),
        variant=True,
    ),
    Row("einsum", layer(HyperEinsumDense, "abc,cde->abde", (4, 2, 3), bias_axes="de"), (4, 5)),
    Row(
        "einsum-conditioned",
        layer(HyperEinsumDense, "abcd,cde->abe", (3, 4), bias_axes="e", generate_bias=True),
        (3, 2, 6),
        (3,),
    ),
    Row(
        "einsum-conditioned-low-rank",
        layer(HyperEinsumDense, "btnh,nhd->btd", (3, 4), generator=low_rank),
        (3, 2, 6),
        (3,),
        rounding=2,
        variant=True,
    ),
    Row("embedding", layer(HyperEmbedding, 4, 3, mask_zero=True), (5,), dtype="int32"),
    *(
        Row(
            f"embedding-conditioned-{name}",
            layer(HyperEmbedding, 4, 3, **kwargs),
            (5,),
            (3,),
            dtype="int32",
            rounding=2,
            variant=name not in ("tiled", "low-rank"),
        )
        for name, kwargs in {
            "tiled": {"embeddings_regularizer": "l2"},
            "low-rank": {"generator": low_rank},
            "templates": {"generator": templates()},
            "linear": {"generator": lambda: LinearGenerator(3, initialization="variance")},
            "add": {"composition": "add"},
            "scale": {"composition": "scale"},
        }.items()
    ),
]
TASKS = Row("task-embedding", lambda: TaskEmbedding(4, 3), (), dtype="int32")
LAYERS.append(
    Row(
        "dense-conditioned-batch-norm",
        dense(generator=normalized("batch")),
        (5,),
        (3,),
        float64=False,
        variant=True,
    )
)
# Sigmoids again, for JAX.
SMALL = {"hyper_units": 3, "embedding_dim": 2, "activation": "sigmoid"}
RECURRENT = {
    "rnn": layer(HyperSimpleRNN, 4, **SMALL),
    "rnn-full": layer(HyperSimpleRNN, 4, **SMALL, form="full"),
    "lstm": layer(HyperLSTM, 4, **SMALL, layer_norm=True),
    "gru": layer(HyperGRU, 4, **SMALL, return_sequences=True),
    "layer-norm-lstm": layer(LayerNormLSTM, 4, activation="sigmoid", use_bias=True),
    "lstm-cell": lambda: layers.RNN(HyperLSTMCell(4, **SMALL)),
    "gru-cell": lambda: layers.RNN(HyperGRUCell(4, **SMALL)),
    "rnn-cell": lambda: layers.RNN(HyperSimpleRNNCell(4, **SMALL)),
    "layer-norm-lstm-cell": lambda: layers.RNN(LayerNormLSTMCell(4, activation="sigmoid")),
}
LAYERS += [
    Row(
        name,
        make,
        (5, 3),
        argument="sequences",
        variant=name == "rnn-full" or name.endswith("cell"),
    )
    for name, make in RECURRENT.items()
]
FULL = [row for row in LAYERS if not row.variant]
# What is slow, and depends on the class alone, is done with one row for each class.
CLASSES = {(type(row.make()), row.condition is None): row for row in reversed(FULL)}.values()
ENCODING = Row("encoding", lambda: MagnitudeInvariantEncoding([0, -1], 2.0), (2,))
NOISE = Row("noise", lambda: NoiseCondition(3, seed=1), (2,))
JOINED = Row("joined", lambda: JoinedCondition(layers.Dense(3)), (2,), argument="values")
MASK = Row("adapter-mask", AdapterMask, (), argument="adapted", dtype="bool")
CONDITIONS = [TASKS, ENCODING, JOINED, MASK]
ROWS = [*FULL, *CONDITIONS]


def hypernetwork():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4, "sigmoid"), layers.Dense(3)])
    return Hypernetwork(target, chunked(), condition=3)


HYPERNETWORK = Row("hypernetwork", hypernetwork, (5,), (3,))
AT = Row("hypernetwork-at", lambda: hypernetwork().at([0.5, -1, 2]), (5,))
MODELS = [HYPERNETWORK, AT]


def over(rows, long_variants=False):
    """Runs a test once for each row, all tests of a row in one process.

    There, JAX has already compiled every operation for the shapes of the row.
    With `long_variants`, variants run with the long cases where Keras compiles.
    """

    def marks(row):
        long = long_variants and row.variant and JIT
        return [pytest.mark.xdist_group(row.name), *([pytest.mark.long] if long else [])]

    groups = [pytest.param(row, marks=marks(row)) for row in rows]
    return pytest.mark.parametrize("row", groups, ids=[row.name for row in rows])
