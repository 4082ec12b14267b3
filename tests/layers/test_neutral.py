"""A generator that ignores its condition makes every layer equal its stock twin."""

import keras
import numpy as np
import pytest

from helpers import (
    JIT,
    TRUE_FLOAT64,
    compiled,
    gradients,
    largest_tensor,
    outputs_and_gradients,
    relative_error,
    to_numpy,
)
from keras_hyper import (
    ChunkedGenerator,
    Generator,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEinsumDense,
    HyperEmbedding,
    LinearGenerator,
    LowRankGenerator,
    TemplateGenerator,
)
from keras_hyper.kernels import Full, Mixture
from keras_hyper.ops import conv as conv_module
from reference import equations


class Constant(Generator):
    """Holds one weight and gives it to every sample, written out."""

    def embedding_shape(self, weight_shape):
        return 1, self.embedding_dim

    def build(self, input_shape):
        self.value = self.add_weight(shape=self._weight_shape, initializer="zeros")

    def call(self, embedding):
        return self.value + 0 * keras.ops.sum(embedding)

    def kernel(self, embedding, weight_shape):
        value = self(embedding)
        if len(embedding.shape) == 2:
            return Full(value, batched=False)
        batch = keras.ops.shape(embedding)[0]
        return Full(keras.ops.broadcast_to(value, (batch, *weight_shape)), batched=True)

    def set(self, value):
        self.value.assign(value)

    @property
    def place(self):
        return self.value


class NeutralLinear(LinearGenerator):
    """A linear generator without its head: the bias is the weight."""

    def set(self, value):
        self.head.kernel.assign(np.zeros(self.head.kernel.shape))
        self.head.bias.assign(np.reshape(value, -1))

    @property
    def place(self):
        return self.head.bias


CASES = {
    "dense": (HyperDense, {"units": 7, "activation": "sigmoid"}, (5,)),
    "dense-narrow": (HyperDense, {"units": 3}, (20,)),
    "dense-3d": (HyperDense, {"units": 7, "use_bias": False}, (4, 5)),
    "dense-4d": (HyperDense, {"units": 7}, (2, 3, 5)),
    "einsum-query": (
        HyperEinsumDense,
        {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"},
        (4, 5),
    ),
    "einsum-output": (
        HyperEinsumDense,
        {"equation": "abcd,dce->abe", "output_shape": (None, 4), "activation": "sigmoid"},
        (4, 2, 3),
    ),
    "einsum-swapped": (
        HyperEinsumDense,
        {"equation": "abc,cd->adb", "output_shape": (6, None), "bias_axes": "d"},
        (4, 5),
    ),
    "einsum-experts": (
        HyperEinsumDense,
        {"equation": "abc,bcd->abd", "output_shape": (3, 4), "bias_axes": "bd"},
        (3, 5),
    ),
    "conv": (HyperConv2D, {"filters": 6, "kernel_size": 3}, (7, 8, 4)),
    "conv-same": (HyperConv2D, {"filters": 6, "kernel_size": (2, 3), "padding": "same"}, (7, 8, 4)),
    "conv-strides": (
        HyperConv2D,
        {"filters": 6, "kernel_size": 3, "padding": "same", "strides": (2, 3)},
        (7, 8, 4),
    ),
    "conv-strides-valid": (
        HyperConv2D,
        {"filters": 6, "kernel_size": (3, 1), "strides": 2, "activation": "relu"},
        (7, 8, 4),
    ),
    "conv-dilation": (
        HyperConv2D,
        {"filters": 6, "kernel_size": 3, "padding": "same", "dilation_rate": (2, 1)},
        (7, 8, 4),
    ),
    "conv-groups": (HyperConv2D, {"filters": 6, "kernel_size": 3, "groups": 2}, (7, 8, 4)),
    "conv-1x1": (HyperConv2D, {"filters": 6, "kernel_size": 1, "use_bias": False}, (7, 8, 4)),
    "conv-channels-first": (
        HyperConv2D,
        {"filters": 6, "kernel_size": 3, "data_format": "channels_first", "strides": 2},
        (4, 7, 8),
    ),
    # Large enough to be split into windows of one axis and sums over the others.
    "conv-split": (HyperConv2D, {"filters": 2, "kernel_size": 3, "padding": "same"}, (9, 11, 6)),
    "conv-split-dilation": (
        HyperConv2D,
        {"filters": 2, "kernel_size": (4, 3), "dilation_rate": (2, 3)},
        (14, 13, 6),
    ),
    "conv3d-split": (HyperConv3D, {"filters": 1, "kernel_size": (2, 3, 2)}, (4, 7, 5, 3)),
    "conv1d-causal": (
        HyperConv1D,
        {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2},
        (9, 4),
    ),
    "conv1d-groups": (
        HyperConv1D,
        {"filters": 4, "kernel_size": 2, "padding": "same", "strides": 2, "groups": 2},
        (9, 4),
    ),
    "conv1d-channels-first": (
        HyperConv1D,
        {"filters": 4, "kernel_size": 3, "data_format": "channels_first", "padding": "causal"},
        (4, 9),
    ),
    "conv3d": (HyperConv3D, {"filters": 3, "kernel_size": (2, 3, 1)}, (4, 4, 3, 2)),
    "conv3d-strides": (
        HyperConv3D,
        {"filters": 3, "kernel_size": 2, "strides": 2, "padding": "same"},
        (3, 4, 3, 2),
    ),
    "depthwise": (HyperDepthwiseConv2D, {"kernel_size": 3, "activation": "sigmoid"}, (6, 5, 3)),
    "depthwise-strides": (
        HyperDepthwiseConv2D,
        {"kernel_size": (3, 2), "strides": 2, "padding": "same", "depth_multiplier": 2},
        (6, 5, 3),
    ),
    "depthwise-dilation": (
        HyperDepthwiseConv2D,
        {"kernel_size": 2, "dilation_rate": 2, "depth_multiplier": 3, "use_bias": False},
        (6, 5, 2),
    ),
    "depthwise-channels-first": (
        HyperDepthwiseConv2D,
        {"kernel_size": 2, "data_format": "channels_first", "depth_multiplier": 2},
        (2, 5, 4),
    ),
    "transpose": (HyperConv2DTranspose, {"filters": 4, "kernel_size": 3}, (3, 4, 2)),
    "transpose-strides": (
        HyperConv2DTranspose,
        {"filters": 4, "kernel_size": (3, 4), "strides": (2, 3), "padding": "same"},
        (3, 4, 2),
    ),
    "transpose-gaps": (
        HyperConv2DTranspose,
        {"filters": 4, "kernel_size": (2, 1), "strides": 3, "activation": "sigmoid"},
        (3, 4, 2),
    ),
    "transpose-output-padding": (
        HyperConv2DTranspose,
        {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1},
        (3, 4, 2),
    ),
    "transpose-channels-first": (
        HyperConv2DTranspose,
        {"filters": 4, "kernel_size": 3, "strides": 2, "data_format": "channels_first"},
        (2, 3, 4),
    ),
}
over_cases = pytest.mark.parametrize("case", CASES)
# TensorFlow has no convolution with the channels first on CPU, so no twin either.
over_twins = pytest.mark.parametrize(
    "case",
    [c for c in CASES if "first" not in c or keras.backend.backend() != "tensorflow"],
)


def twins(case, generator, condition_shape, rng, dtype="float32"):
    """Returns a hyper layer, its stock twin with the same weights, and inputs."""
    cls, arguments, shape = CASES[case]
    generator = generator(dtype=dtype)
    hyper = cls(**arguments, dtype=dtype, generator=generator)
    hyper.build((None, *shape), condition_shape)
    stock = cls.stock(**arguments, dtype=dtype)
    stock.build((None, *shape))
    weights = [rng.normal(size=w.shape) for w in stock.weights]
    stock.set_weights(weights)
    generator.set(weights[0] / hyper.kernel_weight.scale)
    if hyper.bias is not None:
        hyper.bias.assign(weights[1])
    return hyper, stock, rng.normal(size=(3, *shape)).astype(dtype)


def check_twins(hyper, stock, x, condition, tolerance):
    """Compares outputs, and the gradients by weights, bias and inputs."""

    def twin(layer, **kwargs):
        def loss(x):
            outputs = layer(x, **kwargs)
            shape = [int(n) for n in outputs.shape]
            direction = np.cos(np.arange(np.prod(shape))).reshape(shape)
            return keras.ops.sum(outputs * keras.ops.cast(direction, outputs.dtype)), outputs

        return outputs_and_gradients(loss, layer, x)

    outputs, ours = twin(hyper, condition=condition)
    expected, theirs = twin(stock)
    assert relative_error(outputs, expected) <= tolerance
    named = {id(v): g for v, g in zip(hyper.trainable_variables, ours, strict=False)}
    scale = hyper.kernel_weight.scale
    kernel = named[id(hyper.generator.place)].reshape(theirs[0].shape) / scale
    assert relative_error(kernel, theirs[0]) <= tolerance
    if hyper.bias is not None:
        # Both are the sum of the same n terms of size 1, which cancel to about 0.2, each
        # in its own order: sqrt(n) roundings of 6e-8 are 2e-6 of that for n = 75.
        assert relative_error(named[id(hyper.bias)], theirs[1]) <= 4 * tolerance
    assert relative_error(ours[-1], theirs[-1]) <= tolerance


@over_twins
@pytest.mark.parametrize("generator", [Constant, NeutralLinear])
def test_static_equals_stock(case, generator, rng):
    hyper, stock, x = twins(case, generator, None, rng)
    check_twins(hyper, stock, x, None, tolerance=1e-6)


@over_twins
def test_one_condition_for_the_batch_equals_stock(case, rng):
    hyper, stock, x = twins(case, Constant, (4,), rng)
    check_twins(hyper, stock, x, rng.normal(size=4).astype("float32"), tolerance=1e-6)


@over_twins
@pytest.mark.parametrize("generator", [Constant, NeutralLinear])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_per_sample_equals_stock(case, generator, dtype, rng):
    if dtype == "float64":
        keras.config.set_floatx("float64")
    hyper, stock, x = twins(case, generator, (None, 4), rng, dtype)
    condition = rng.normal(size=(3, 4)).astype(dtype)
    # Keras's own dense layer rounds float64 to float32 on PyTorch; the twin can
    # then be no closer than that. The two tests against the equations, below, hold
    # our side to float64 there as well.
    exact = TRUE_FLOAT64 or "conv" in case
    tolerance = 1e-5 if dtype == "float32" else 1e-12 if exact else 1e-6
    check_twins(hyper, stock, x, condition, tolerance)


@pytest.mark.parametrize("case", ["dense", "dense-narrow", "dense-3d", "dense-4d"])
@pytest.mark.parametrize("generator", [Constant, NeutralLinear])
def test_per_sample_gradients_equal_the_equations(case, generator, rng):
    """In float64 on every backend, where Keras's own dense layer may have rounded."""
    keras.config.set_floatx("float64")
    hyper, stock, x = twins(case, generator, (None, 4), rng, "float64")
    condition = rng.normal(size=(3, 4))
    direction = rng.normal(size=(*x.shape[:-1], hyper.units))

    def loss(x):
        outputs = hyper(x, condition=condition)
        return keras.ops.sum(outputs * keras.ops.convert_to_tensor(direction))

    ours = gradients(loss, hyper, x)
    named = {id(v): g for v, g in zip(hyper.trainable_variables, ours, strict=False)}
    kernel = stock.kernel.numpy()
    slope = direction
    if hyper.activation is keras.activations.sigmoid:
        y = 1 / (1 + np.exp(-(x @ kernel + stock.bias.numpy())))
        slope = direction * y * (1 - y)
    rows, slopes = x.reshape(-1, x.shape[-1]), slope.reshape(-1, hyper.units)
    by_kernel = named[id(hyper.generator.place)].reshape(kernel.shape)
    expected = rows.T @ slopes * hyper.kernel_weight.scale
    assert relative_error(by_kernel, expected) <= 1e-12
    assert relative_error(ours[-1], slope @ kernel.T) <= 1e-12
    if hyper.bias is not None:
        assert relative_error(named[id(hyper.bias)], slopes.sum(axis=0)) <= 1e-12


def by_the_equations(hyper, sample, kernel, bias):
    if isinstance(hyper, HyperDense):
        return equations.dense(sample, kernel, bias)
    if isinstance(hyper, HyperEinsumDense):
        return equations.einsum_dense(sample[None], kernel, bias, hyper.equation)[0]
    first = hyper.data_format == "channels_first"
    sample = np.moveaxis(sample, 0, -1) if first else sample
    options = [hyper.strides, hyper.padding, hyper.dilation_rate]
    if isinstance(hyper, HyperConv2DTranspose):
        out = equations.conv_transpose(sample, kernel, bias, *options, hyper.output_padding)
    else:
        depth = getattr(hyper, "depth_multiplier", None)
        out = equations.conv(sample, kernel, bias, *options, depth)
    return np.moveaxis(out, -1, 0) if first else out


@over_cases
@pytest.mark.parametrize("generator", [Constant, NeutralLinear])
def test_per_sample_equals_the_equations(case, generator, rng):
    """Forward, against loops in NumPy float64, with another kernel for each sample."""
    keras.config.set_floatx("float64")
    hyper, _, x = twins(case, generator, (None, 4), rng, "float64")
    if generator is NeutralLinear:  # No longer neutral: the mixture must be right, too.
        hyper.generator.head.kernel.assign(rng.normal(size=hyper.generator.head.kernel.shape))
    condition = rng.normal(size=(3, 4))
    weights = to_numpy(compiled(hyper.generate, hyper)(condition))
    bias = weights.get("bias", 0.0)
    results = to_numpy(compiled(hyper, hyper)(x, condition=condition))
    for sample, kernel, outputs in zip(x, weights["kernel"], results, strict=True):
        expected = by_the_equations(hyper, sample, kernel, bias)
        if hyper.activation is keras.activations.sigmoid:
            expected = 1 / (1 + np.exp(-expected))
        if hyper.activation is keras.activations.relu:
            expected = np.maximum(expected, 0)
        assert relative_error(outputs, expected) <= 1e-12


@pytest.mark.parametrize("case", ["conv", *(case for case in CASES if "split" in case)])
def test_large_images_are_split(case, rng, monkeypatch):
    calls = []
    original = conv_module._split_conv
    monkeypatch.setattr(conv_module, "_split_conv", lambda *a: calls.append(case) or original(*a))
    hyper, _, x = twins(case, Constant, (None, 4), rng)
    hyper(x, condition=rng.normal(size=(3, 4)).astype("float32"))
    assert bool(calls) is ("split" in case)


@pytest.mark.parametrize("strides", [1, (2, 3)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [3, 1])
def test_images_of_unknown_size_have_kernels_of_their_own(size, strides, padding, rng):
    layer = HyperConv2D(4, size, strides=strides, padding=padding, generator=LinearGenerator())
    inputs, condition = keras.Input((None, None, 2)), keras.Input((3,))
    model = keras.Model([inputs, condition], layer(inputs, condition=condition))
    assert model.output.shape == (None, None, None, 4)
    for height, width in ((7, 10), (8, 9)):
        data = [
            rng.normal(size=(2, height, width, 2)).astype("float32"),
            rng.normal(size=(2, 3)).astype("float32"),
        ]
        kernels = to_numpy(layer.generate(data[1])["kernel"])
        expected = [
            equations.conv(x, kernel, strides=layer.strides, padding=padding)
            for x, kernel in zip(data[0].astype("float64"), kernels, strict=True)
        ]
        for jit in {False, JIT}:
            model.compile(jit_compile=jit)
            outputs = model.predict(data, verbose=0)
            assert relative_error(outputs, np.stack(expected)) < 1e-5


FACTORED = {
    "linear": {"generator": lambda: LinearGenerator(4)},
    "low-rank": {"generator": lambda: LowRankGenerator(2, 4)},
    "templates": {"generator": lambda: TemplateGenerator(4)},
    "experts": {"generator": lambda: TemplateGenerator(4, "sigmoid", normalize_condition=False)},
    "scale": {"composition": "scale", "generator": lambda: None},
    "scale-low-rank": {"composition": "scale", "generator": lambda: LowRankGenerator(1, 4)},
    "add-low-rank": {"composition": "add", "generator": lambda: LowRankGenerator(2, 4)},
    "add-templates": {"composition": "add", "generator": lambda: TemplateGenerator(4)},
    "multiply-linear": {"composition": "multiply", "generator": lambda: LinearGenerator(4)},
}
over_factored = pytest.mark.parametrize("arguments", FACTORED.values(), ids=FACTORED)


@pytest.mark.tensorflow
@over_factored
@pytest.mark.parametrize(("fan_in", "units"), [(40, 30), (30, 40)])
def test_no_kernel_is_formed_for_each_sample(arguments, fan_in, units):
    """Rank-2 inputs: no (batch, in, out) tensor in the graph, forward or backward."""
    import tensorflow as tf

    layer = HyperDense(units, **{**arguments, "generator": arguments["generator"]()})
    layer.build((None, fan_in), (None, 3))
    largest = largest_tensor(layer, tf.TensorSpec((16, fan_in)), tf.TensorSpec((16, 3)))
    assert largest <= max(5 * fan_in * units, 16 * 4 * max(fan_in, units))
    assert largest < 16 * fan_in * units


THIN = ["low-rank", "add-low-rank", "scale", "scale-low-rank"]
over_thin = pytest.mark.parametrize("name", THIN)


@pytest.mark.tensorflow
@over_thin
@pytest.mark.parametrize("layer", [HyperDense, HyperConv2D])
def test_no_kernel_is_formed_where_the_factored_form_multiplies_less(layer, name):
    """Many positions or pixels: no (batch, *kernel) tensor in the graph."""
    import tensorflow as tf

    arguments = {**FACTORED[name], "generator": FACTORED[name]["generator"]()}
    if layer is HyperDense:
        layer, shape, kernel = HyperDense(60, **arguments), (3, 70), 60 * 70
    else:
        layer, shape, kernel = HyperConv2D(40, 3, **arguments), (4, 4, 30), 9 * 30 * 40
    layer.build((None, *shape), (None, 3))
    largest = largest_tensor(layer, tf.TensorSpec((16, *shape)), tf.TensorSpec((16, 3)))
    assert largest < 16 * kernel


CONVS = {
    "same": {"padding": "same"},
    "strides": {"strides": (2, 3)},
    "dilated": {"dilation_rate": 2, "padding": "same"},
    "groups": {"groups": 2},
    "first": {"data_format": "channels_first"},
    "split": {"filters": 6, "kernel_size": (3, 2)},
}
# TensorFlow has no convolution of a stored kernel with groups or the channels first on CPU.
STORED = [name for name in CONVS if name not in ("first", "groups")]


@pytest.mark.parametrize(
    ("name", "options"),
    [("low-rank", option) for option in CONVS] + [("add-low-rank", option) for option in STORED],
)
def test_thin_convolutions_equal_those_written_out(name, options, rng):
    keras.config.set_floatx("float64")
    generator = FACTORED[name]["generator"]()
    arguments = {**FACTORED[name], "generator": generator}
    settings = {"filters": 8, "kernel_size": 3, "dtype": "float64", **CONVS[options]}
    layer = HyperConv2D(**settings, **arguments)
    shape = (4, 9, 8) if options == "first" else (9, 8, 4)
    layer.build((None, *shape), (None, 3))
    for v in layer.weights:
        v.assign(rng.normal(size=v.shape))
    x, condition = rng.normal(size=(5, *shape)), rng.normal(size=(5, 3))
    kernel = layer.kernel_weight.kernel(keras.ops.convert_to_tensor(condition))
    assert kernel.thin or name == "add-low-rank"
    weights = to_numpy(layer.generate(condition))
    expected = [
        equations.conv(
            np.moveaxis(sample, 0, -1) if options == "first" else sample,
            kernel,
            weights["bias"],
            layer.strides,
            layer.padding,
            layer.dilation_rate,
        )
        for sample, kernel in zip(x, weights["kernel"], strict=True)
    ]
    outputs = to_numpy(layer(x, condition=condition))
    if options == "first":
        outputs = np.moveaxis(outputs, 1, -1)
    assert relative_error(outputs, np.stack(expected)) <= (1e-12 if TRUE_FLOAT64 else 1e-6)


@pytest.mark.tensorflow
@over_factored
def test_no_table_is_formed_for_each_sample(arguments):
    import tensorflow as tf

    arguments = {**arguments, "generator": arguments["generator"]()}
    layer = HyperEmbedding(50, 30, **arguments, embeddings_initializer="glorot_uniform")
    layer.build((None, 2), (None, 3))
    largest = largest_tensor(layer, tf.TensorSpec((16, 2), "int32"), tf.TensorSpec((16, 3)))
    assert largest <= max(5 * 50 * 30, 16 * 2 * 4 * 30)
    assert largest < 16 * 50 * 30


@over_factored
@pytest.mark.parametrize("length", [None, 6], ids=["rank-2", "rank-3"])
def test_the_factored_form_equals_the_written_out_one(arguments, length, rng):
    keras.config.set_floatx("float64")
    arguments = {**arguments, "generator": arguments["generator"]()}
    layer = HyperDense(7, dtype="float64", **arguments)
    shape = (5,) if length is None else (length, 5)
    layer.build((None, *shape), (None, 3))
    for v in layer.weights:
        v.assign(rng.normal(size=v.shape))
    x, condition = rng.normal(size=(4, *shape)), rng.normal(size=(4, 3))
    weights = to_numpy(layer.generate(condition))
    tolerance = 1e-12 if TRUE_FLOAT64 else 1e-6
    for sample, kernel, out in zip(
        x, weights["kernel"], to_numpy(layer(x, condition=condition)), strict=True
    ):
        expected = equations.dense(sample, kernel, weights["bias"])
        assert relative_error(out, expected) <= tolerance


@over_factored
def test_tables_in_factored_form_give_the_rows_of_those_written_out(arguments, rng):
    keras.config.set_floatx("float64")
    arguments = {**arguments, "generator": arguments["generator"]()}
    layer = HyperEmbedding(9, 5, dtype="float64", **arguments)
    layer.build((None, 2, 3), (None, 3))
    for v in layer.weights:
        v.assign(rng.normal(size=v.shape))
    ids, condition = rng.integers(0, 9, size=(4, 2, 3)), rng.normal(size=(4, 3))
    tables = to_numpy(layer.generate(condition)["embeddings"])
    expected = np.stack([table[i] for table, i in zip(tables, ids, strict=True)])
    tolerance = 1e-12 if TRUE_FLOAT64 else 1e-6
    assert relative_error(layer(ids, condition=condition), expected) <= tolerance


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64"])
def test_ids_of_any_integer_type_find_their_table(dtype, rng):
    """Rows of the last samples' tables have numbers that narrow types do not reach."""
    layer = HyperEmbedding(120, 2, generator=ChunkedGenerator(50))
    ids, condition = rng.integers(0, 120, size=(300, 2)), rng.normal(size=(300, 3))
    condition = condition.astype("float32")
    expected = to_numpy(layer(ids.astype("int32"), condition=condition))
    rows = to_numpy(layer(ids.astype(dtype), condition=condition))
    np.testing.assert_array_equal(rows, expected)
    tables = to_numpy(layer.generate(condition)["embeddings"])
    np.testing.assert_allclose(expected[-1], tables[-1][ids[-1]], rtol=1e-6)


@pytest.mark.parametrize("ids", [[[12], [0]], [[0], [-1]]], ids=["beyond", "negative"])
def test_an_id_that_is_no_row_finds_no_row_of_another_sample(ids, rng):
    layer = HyperEmbedding(10, 3, generator=ChunkedGenerator(50))
    condition = rng.normal(size=(2, 3)).astype("float32")
    layer(np.zeros((2, 1), "int32"), condition=condition)
    ids = np.array(ids, "int32")
    if keras.backend.backend() == "jax":  # No error, but NaN, in the bad row alone.
        rows = to_numpy(layer(ids, condition=condition))
        np.testing.assert_array_equal(np.isnan(rows).all(axis=-1), ids != 0)
        np.testing.assert_array_equal(np.isnan(rows).any(axis=-1), ids != 0)
        return
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        error, message = tf.errors.InvalidArgumentError, "is not in"
    else:
        error, message = IndexError, "out of range"
    with pytest.raises(error, match=message):
        layer(ids, condition=condition)


@pytest.mark.parametrize("positions", [2, 40])
def test_mixtures_of_tables_are_written_out_for_many_ids(positions, monkeypatch):
    calls = []
    original = Mixture.materialize
    monkeypatch.setattr(Mixture, "materialize", lambda self: calls.append(1) or original(self))
    layer = HyperEmbedding(50, 3, generator=LinearGenerator(4))
    layer(keras.ops.ones((2, positions), "int32"), condition=keras.ops.ones((2, 5)))
    assert bool(calls) is (4 * positions > 50)


def test_a_static_table_equals_the_stock_layer(rng):
    layer = HyperEmbedding(9, 5, mask_zero=True)
    layer.build((None, 4))
    stock = keras.layers.Embedding(9, 5, mask_zero=True)
    stock.build()
    stock.set_weights([to_numpy(layer.generate()["embeddings"])])
    ids = rng.integers(0, 9, size=(3, 4))
    np.testing.assert_array_equal(to_numpy(layer(ids)), to_numpy(stock(ids)))
    np.testing.assert_array_equal(to_numpy(layer.compute_mask(ids)), ids != 0)
    model = keras.Sequential([keras.Input((4,), dtype="int32"), layer, keras.layers.LSTM(3)])
    twin = keras.Sequential([keras.Input((4,), dtype="int32"), stock, keras.layers.LSTM(3)])
    twin.layers[-1].set_weights(model.layers[-1].get_weights())
    np.testing.assert_allclose(to_numpy(model(ids)), to_numpy(twin(ids)), rtol=1e-5, atol=1e-6)
