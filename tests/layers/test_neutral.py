"""A generator that ignores its condition makes every layer equal its stock twin."""

import keras
import numpy as np
import pytest

from helpers import JIT, TRUE_FLOAT64, gradients, relative_error, to_numpy
from keras_hyper import Generator, HyperConv2D, HyperDense, LinearGenerator
from keras_hyper.kernels import Full
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
    expected = to_numpy(stock(x))
    assert relative_error(hyper(x, condition=condition), expected) <= tolerance

    direction = keras.ops.convert_to_tensor(
        np.cos(np.arange(expected.size)).reshape(expected.shape)
    )
    direction = keras.ops.cast(direction, expected.dtype)

    def loss(layer, **kwargs):
        return lambda x: keras.ops.sum(layer(x, **kwargs) * direction)

    ours = gradients(loss(hyper, condition=condition), hyper, x)
    theirs = gradients(loss(stock), stock, x)
    named = {id(v): g for v, g in zip(hyper.trainable_variables, ours, strict=False)}
    scale = hyper.kernel_weight.scale
    kernel = named[id(hyper.generator.place)].reshape(theirs[0].shape) / scale
    assert relative_error(kernel, theirs[0]) <= tolerance
    if hyper.bias is not None:
        assert relative_error(named[id(hyper.bias)], theirs[1]) <= tolerance
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


@over_cases
@pytest.mark.parametrize("generator", [Constant, NeutralLinear])
def test_per_sample_equals_the_equations(case, generator, rng):
    """Forward, against loops in NumPy float64, with another kernel for each sample."""
    keras.config.set_floatx("float64")
    hyper, _, x = twins(case, generator, (None, 4), rng, "float64")
    if generator is NeutralLinear:  # No longer neutral: the mixture must be right, too.
        hyper.generator.head.kernel.assign(rng.normal(size=hyper.generator.head.kernel.shape))
    condition = rng.normal(size=(3, 4))
    weights = to_numpy(hyper.generate(condition))
    bias = weights.get("bias", 0.0)
    for sample, kernel, outputs in zip(
        x, weights["kernel"], to_numpy(hyper(x, condition=condition)), strict=True
    ):
        if isinstance(hyper, HyperDense):
            expected = equations.dense(sample, kernel, bias)
        else:
            first = hyper.data_format == "channels_first"
            expected = equations.conv(
                np.moveaxis(sample, 0, -1) if first else sample,
                kernel,
                bias,
                hyper.strides,
                hyper.padding,
                hyper.dilation_rate,
            )
            expected = np.moveaxis(expected, -1, 0) if first else expected
        if hyper.activation is keras.activations.sigmoid:
            expected = 1 / (1 + np.exp(-expected))
        if hyper.activation is keras.activations.relu:
            expected = np.maximum(expected, 0)
        assert relative_error(outputs, expected) <= 1e-12


@pytest.mark.parametrize("strides", [1, (2, 3)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_images_of_unknown_size_have_kernels_of_their_own(strides, padding, rng):
    layer = HyperConv2D(4, 3, strides=strides, padding=padding, generator=LinearGenerator())
    inputs, condition = keras.Input((None, None, 2)), keras.Input((3,))
    model = keras.Model([inputs, condition], layer(inputs, condition=condition))
    assert model.output.shape == (None, None, None, 4)
    for height in (7, 8):
        data = [
            rng.normal(size=(2, height, 10, 2)).astype("float32"),
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


@pytest.mark.tensorflow
@pytest.mark.parametrize(("fan_in", "units"), [(40, 30), (30, 40)])
def test_a_mixture_forms_no_kernel_for_each_sample(fan_in, units):
    """Rank-2 inputs and a linear generator: no (batch, in, out) tensor in the graph."""
    import tensorflow as tf

    layer = HyperDense(units, generator=LinearGenerator(4))
    layer.build((None, fan_in), (None, 3))

    @tf.function(input_signature=[tf.TensorSpec((16, fan_in)), tf.TensorSpec((16, 3))])
    def step(x, c):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(x, condition=c)))
        return tape.gradient(loss, [v.value for v in layer.trainable_variables])

    sizes = [
        output.shape.num_elements() or 0
        for op in step.get_concrete_function().graph.get_operations()
        for output in op.outputs
        if output.shape.rank is not None
    ]
    assert max(sizes) <= max(5 * fan_in * units, 16 * 4 * max(fan_in, units))
    assert max(sizes) < 16 * fan_in * units
