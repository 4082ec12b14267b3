"""Arguments of the layers: what acts on generated weights, and what is refused."""

import keras
import numpy as np
import pytest

from helpers import JIT, to_numpy
from keras_hyper import (
    GeneratedWeight,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEinsumDense,
    HyperEmbedding,
    LinearGenerator,
    TiledKernelGenerator,
)
from keras_hyper.generators import DirectGenerator

X = np.ones((2, 6), "float32")
C = np.ones((2, 3), "float32")
IMAGES = np.ones((2, 5, 5, 3), "float32")


def test_every_argument_of_the_stock_layers_is_taken():
    import inspect

    for cls in (
        HyperDense,
        HyperConv1D,
        HyperConv2D,
        HyperConv3D,
        HyperDepthwiseConv2D,
        HyperConv2DTranspose,
        HyperEmbedding,
    ):
        ours = list(inspect.signature(cls.__init__).parameters)
        stock = list(inspect.signature(cls.stock.__init__).parameters)
        for name in ("lora_rank", "lora_alpha", "quantization_config", "weights"):
            if name in stock:
                stock.remove(name)
        assert ours[: len(stock) - 1] == stock[:-1]  # In the same order, too; last is **kwargs.


@pytest.mark.parametrize("name", ["lora_rank", "lora_alpha", "quantization_config"])
def test_arguments_about_a_stored_kernel_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` acts on a stored kernel"):
        HyperDense(4, **{name: 2})
    assert HyperDense(4, **{name: None}).get_config()["units"] == 4


def test_a_generated_table_takes_no_stored_one():
    with pytest.raises(ValueError, match="`weights` acts on a stored embeddings"):
        HyperEmbedding(4, 3, weights=np.ones((4, 3)))
    layer = HyperEmbedding(4, 3)
    layer.build()
    # PyTorch's modules answer every AttributeError of a property with their own words.
    own = keras.backend.backend() != "torch"
    message = r"generate\(condition\)\['embeddings'\]" if own else "embeddings"
    with pytest.raises(AttributeError, match=message):
        _ = layer.embeddings


def test_embeddings_can_be_excluded_from_weight_decay_by_name():
    """Without a gradient, decay alone moves a variable."""
    layer = HyperDense(4, generator=TiledKernelGenerator((6, 4), embedding_dim=4))
    model = keras.Sequential([keras.Input((6,)), layer])
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["embedding"])
    model.compile(optimizer, lambda y, p: 0 * keras.ops.sum(p))
    before = {v.path: v.numpy() for v in model.trainable_variables}
    model.fit(X, np.ones((2, 4), "float32"), verbose=0)
    for v in model.trainable_variables:
        moved = np.abs(v.numpy() - before[v.path]).max()
        if v.name == "embedding":
            assert moved == 0
        elif np.abs(before[v.path]).max() > 0:  # Biases are zero.
            assert moved > 0, v.path


def test_kernel_regularizer_acts_on_the_generated_kernel():
    layer = HyperDense(4, kernel_regularizer=keras.regularizers.L2(0.5))
    layer(X)
    kernel = to_numpy(layer.generate()["kernel"])
    assert float(to_numpy(layer.losses[0])) == pytest.approx(0.5 * (kernel**2).sum(), rel=1e-5)


def test_kernel_regularizer_is_a_mean_over_samples(rng):
    regularizer = keras.regularizers.OrthogonalRegularizer(0.1)
    condition = rng.normal(size=(2, 3)).astype("float32")
    layer = HyperDense(4, kernel_regularizer=regularizer, generator=LinearGenerator())
    layer(X, condition=condition)
    kernels = to_numpy(layer.generate(condition)["kernel"])
    expected = np.mean([float(to_numpy(regularizer(kernel))) for kernel in kernels])
    assert float(to_numpy(layer.losses[0])) == pytest.approx(expected, rel=1e-5)


def test_regularizers_of_kernels_and_biases_train_under_xla(rng):
    layer = HyperConv2D(
        4,
        3,
        kernel_regularizer="l2",
        bias_regularizer="l1",
        generate_bias=True,
        bias_initializer="ones",
    )
    inputs, condition = keras.Input((5, 5, 3)), keras.Input((3,))
    model = keras.Model([inputs, condition], layer(inputs, condition=condition))
    model.compile("sgd", "mse", jit_compile=JIT)
    history = model.fit([IMAGES, C], np.zeros((2, 3, 3, 4)), epochs=3, verbose=0)
    assert history.history["loss"][2] < history.history["loss"][0]
    layer(IMAGES, condition=C)
    assert len(layer.losses) == 2


def test_a_static_penalty_counts_once_however_often_the_layer_is_called():
    """As a variable's does: called twice, over time, and inside a recurrent cell."""
    regularizer = keras.regularizers.L2(1.0)

    def twice():
        layer = HyperDense(6, kernel_regularizer=regularizer)
        inputs = keras.Input((6,))
        return keras.Model(inputs, layer(layer(inputs))), layer

    def over_time():
        layer = HyperDense(6, kernel_regularizer=regularizer)
        return keras.Sequential([keras.Input((5, 6)), keras.layers.TimeDistributed(layer)]), layer

    def in_a_cell():
        cell = Cell(regularizer)
        return keras.Sequential([keras.Input((5, 6)), keras.layers.RNN(cell)]), cell.inner

    for make in (twice, over_time, in_a_cell):
        model, layer = make()
        kernel = to_numpy(layer.generate()["kernel"])
        (penalty,) = model.losses
        assert float(to_numpy(penalty)) == pytest.approx((kernel**2).sum(), rel=1e-5)
        model.compile("sgd", "mse", jit_compile=JIT)
        shape = [2 if n is None else n for n in model.input_shape]
        targets = np.zeros([2 if n is None else n for n in model.output_shape])
        loss = model.evaluate(np.zeros(shape), targets, verbose=0)
        assert loss == pytest.approx((kernel**2).sum(), rel=1e-4)
        model.fit(np.zeros(shape), targets, verbose=0)
        assert np.abs(to_numpy(layer.generate()["kernel"]) - kernel).max() > 0


class Cell(keras.layers.Layer):
    """A recurrent cell with a hyper layer in it."""

    def __init__(self, regularizer, **kwargs):
        super().__init__(**kwargs)
        self.state_size = 6
        self.inner = HyperDense(6, kernel_regularizer=regularizer)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs, states):
        outputs = self.inner(inputs + states[0])
        return outputs, [outputs]


def test_bias_regularizer_and_constraint_act_on_an_ordinary_bias():
    layer = HyperDense(4, bias_regularizer="l2", bias_constraint="non_neg", bias_initializer="ones")
    layer(X)
    assert float(to_numpy(layer.losses[0])) == pytest.approx(0.01 * 4)
    assert layer.bias.constraint is not None


def test_a_generated_bias_starts_at_its_initializer():
    for initializer, value in (("zeros", 0.0), ("ones", 1.0)):
        layer = HyperDense(4, generate_bias=True, bias_initializer=initializer)
        layer(X, condition=C)
        bias = to_numpy(layer.generate(C)["bias"])
        assert bias.shape == (2, 4)
        np.testing.assert_allclose(bias, value, atol=0.1 * value)


def test_activity_regularizer():
    layer = HyperDense(4, activity_regularizer=keras.regularizers.L1(1.0))
    stock = keras.layers.Dense(4, activity_regularizer=keras.regularizers.L1(1.0))
    layer(X)
    stock.build(X.shape)
    stock.set_weights([to_numpy(weight) for weight in layer.generate().values()])
    stock(X)
    assert to_numpy(layer.losses[0]) == pytest.approx(to_numpy(stock.losses[0]), rel=1e-5)


def test_masks_pass_through_dense():
    inputs = keras.Input((4,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(inputs)
    outputs = HyperDense(2)(embedded)
    outputs = keras.layers.GlobalAveragePooling1D()(outputs)
    model = keras.Model(inputs, outputs)
    short, padded = np.array([[1, 2]]), np.array([[1, 2, 0, 0]])
    values = to_numpy(model(np.concatenate([padded, np.array([[1, 2, 3, 4]])])))
    layer = model.layers[2]
    expected = to_numpy(layer(model.layers[1](short))).mean(axis=1)
    np.testing.assert_allclose(values[:1], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "condition"), [((8, 5), None), ((64, 10), None), ((512, 256), None), ((1, 1), None)]
)
def test_the_default_never_stores_more_than_the_stock_layer(shape, condition):
    layer = HyperDense(shape[1])
    layer.build((None, shape[0]))
    assert layer.count_params() <= shape[0] * shape[1] + shape[1]


@pytest.mark.parametrize("condition", [None, 3])
@pytest.mark.parametrize("shape", [(16, 4), (32, 10), (64, 64)])
def test_the_default_is_worth_its_numbers(shape, condition):
    """Tiles from one number are all alike, and no layer learns with them."""
    layer = HyperDense(shape[1])
    layer.build((None, shape[0]), None if condition is None else (None, condition))
    generator = layer.kernel_weight.generator
    if shape == (16, 4) and condition is None:
        assert isinstance(generator, DirectGenerator)
    else:
        assert generator.embedding_dim >= 4


@pytest.mark.parametrize("initializer", ["zeros", "ones", "identity"])
def test_the_default_takes_any_initializer(initializer):
    layer = HyperDense(60, kernel_initializer=initializer)
    layer.build((None, 60))
    draw = to_numpy(keras.initializers.get(initializer)((60, 60)))
    np.testing.assert_allclose(to_numpy(layer.generate()["kernel"]), draw)
    assert layer.count_params() == 3660


def test_a_static_generated_bias_stores_no_more_than_a_bias():
    layer = HyperDense(4, generate_bias=True)
    layer.build((None, 6))
    assert layer.count_params() <= 28


@pytest.mark.parametrize("channels", [(3, 16), (16, 32), (64, 64), (1, 1)])
@pytest.mark.parametrize("condition_dim", [None, 8])
def test_the_default_of_convolutions_stores_at_most_half(channels, condition_dim):
    layer = HyperConv2D(channels[1], 3, use_bias=False)
    shape = None if condition_dim is None else (None, condition_dim)
    layer.build((None, 8, 8, channels[0]), shape)
    size = 9 * channels[0] * channels[1]
    # A projection of the condition does not fit into half of a small kernel.
    if size > (200 if condition_dim is None else 1000):
        assert layer.count_params() <= size / 2
        kernel = to_numpy(layer.generate(None if shape is None else np.ones(8))["kernel"])
        rank = np.linalg.matrix_rank(np.moveaxis(kernel, 2, 0).reshape(channels[0], -1))
        assert rank == channels[0]
    elif condition_dim is None:
        assert layer.count_params() == size


def test_embedding_dim_is_the_default_generators():
    layer = HyperDense(64, embedding_dim=3)
    layer.build((None, 64))
    assert layer.kernel_weight.embedding.shape[1] == 3
    assert HyperDense.from_config(layer.get_config()).embedding_dim == 3


def called(layer):
    layer(X, condition=C)
    return layer


MISTAKES = {
    "units zero": (lambda: HyperDense(0), ValueError, "`units`.*units=0"),
    "equation": (lambda: HyperEinsumDense(3, 4), TypeError, "`equation`.*equation=3"),
    "output shape": (
        lambda: HyperEinsumDense("abc,cd->abd", 4),
        ValueError,
        "`output_shape`.*'bd'.*output_shape=4",
    ),
    "axis not known": (
        lambda: HyperEinsumDense("abc,bcd->abd", (None, 4)).build((None, None, 3)),
        ValueError,
        "axes of the kernel.*must be known.*output_shape",
    ),
    "bias axis": (
        lambda: HyperEinsumDense("ab,bc->ac", 4, bias_axes="d").build((None, 3)),
        ValueError,
        "`bias_axes`.*'ac'.*bias_axes='d'",
    ),
    "bias of no axis": (
        lambda: HyperEinsumDense("ab,bc->ac", 4, bias_axes=""),
        ValueError,
        "`bias_axes`.*'ac'.*bias_axes=''",
    ),
    "equation with spaces": (
        lambda: HyperEinsumDense("ab, bc->ac", 4),
        ValueError,
        "`equation` must have the form.*'ab, bc->ac'",
    ),
    "equation without outputs": (
        lambda: HyperEinsumDense("ab,bc", 4),
        ValueError,
        "`equation` must have the form.*'ab,bc'",
    ),
    "ellipsis of the inputs alone": (
        lambda: HyperEinsumDense("...ab,bc->ac", 4),
        ValueError,
        r"`equation` must have the form.*'\.\.\.ab,bc->ac'",
    ),
    "batch axis not the first": (
        lambda: HyperEinsumDense("ab,bc->ca", 4),
        ValueError,
        "first output axis.*'ab,bc->ca'",
    ),
    "output axis of nothing": (
        lambda: HyperEinsumDense("ab,bc->ad", 4),
        ValueError,
        "output axis 'd'.*'ab,bc->ad'",
    ),
    "kernel axis of nothing": (
        lambda: HyperEinsumDense("ab,bcd->ac", 4),
        ValueError,
        "kernel axis 'd'.*'ab,bcd->ac'",
    ),
    "shared axis of two lengths": (
        lambda: HyperEinsumDense("abc,cd->abd", (5, 4)).build((None, 6, 3)),
        ValueError,
        r"`output_shape`.*axis 'b'.*\(None, 6, 3\).*\(5, 4\)",
    ),
    "more axes than the equation": (
        lambda: HyperEinsumDense("ab,bc->ac", 4).build((None, 5, 3)),
        ValueError,
        r"axes of the equation.*\(None, 5, 3\).*'ab,bc->ac'",
    ),
    "fewer axes than the equation": (
        lambda: HyperEinsumDense("...abc,cd->...abd", (None, None, 4)).build((None, 3)),
        ValueError,
        r"axes of the equation.*\(None, 3\)",
    ),
    "units float": (lambda: HyperDense(2.5), ValueError, "`units`.*units=2.5"),
    "units string": (lambda: HyperDense("4"), ValueError, "`units`.*units='4'.*str"),
    "units bool": (lambda: HyperDense(True), ValueError, "`units`.*units=True"),
    "filters float": (lambda: HyperConv2D(2.5, 3), ValueError, "`filters`.*2.5"),
    "filters zero": (lambda: HyperConv2D(0, 3), ValueError, "`filters`.*=0"),
    "padding": (lambda: HyperConv2D(4, 3, padding="full"), ValueError, "padding.*full"),
    "data format": (lambda: HyperConv2D(4, 3, data_format="nchw"), ValueError, "data_format.*nchw"),
    "activation": (lambda: HyperDense(4, activation="rel"), ValueError, "rel"),
    "composition": (
        lambda: HyperDense(4, composition="sum"),
        ValueError,
        "`composition` must be one of 'replace'.*'sum'",
    ),
    "generator string": (
        lambda: HyperDense(4, generator="linear"),
        TypeError,
        r"`generator` must be a keras_hyper Generator.*LinearGenerator\(\).*'linear'",
    ),
    "generator layer": (
        lambda: HyperDense(4, generator=keras.layers.Dense(3)),
        TypeError,
        "`generator` must be a keras_hyper Generator.*Dense",
    ),
    "constraint": (
        lambda: HyperDense(4, kernel_constraint="non_neg"),
        ValueError,
        "`kernel_constraint` projects a variable.*`kernel_regularizer`",
    ),
    "depthwise constraint": (
        lambda: HyperDepthwiseConv2D(3, depthwise_constraint="non_neg"),
        ValueError,
        "`depthwise_constraint` projects a variable.*`depthwise_regularizer`",
    ),
    "table constraint": (
        lambda: HyperEmbedding(4, 3, embeddings_constraint="non_neg"),
        ValueError,
        "`embeddings_constraint` projects a variable.*`embeddings_regularizer`",
    ),
    "depth multiplier": (
        lambda: HyperDepthwiseConv2D(3, depth_multiplier=0),
        ValueError,
        "`depth_multiplier`.*=0",
    ),
    "transposed filters": (
        lambda: HyperConv2DTranspose(1.5, 3),
        ValueError,
        "`filters`.*1.5",
    ),
    "rows float": (lambda: HyperEmbedding(2.0, 3), ValueError, "`input_dim`.*=2.0"),
    "row width": (lambda: HyperEmbedding(3, "4"), ValueError, "`output_dim`.*='4'"),
    "rows": (lambda: HyperEmbedding(0, 3), ValueError, "`input_dim`.*=0"),
    "conv3d rank": (lambda: HyperConv3D(4, 3)(IMAGES), ValueError, "min_ndim=5, found ndim=4"),
    "bias constraint": (
        lambda: HyperDense(4, generate_bias=True, bias_constraint="non_neg"),
        ValueError,
        "`bias_constraint` projects a variable",
    ),
    "no bias": (
        lambda: HyperDense(4, generate_bias=True, use_bias=False),
        ValueError,
        "`generate_bias=True` requires a bias.*use_bias=False",
    ),
    "embedding_dim": (lambda: HyperDense(4, embedding_dim=0), ValueError, "`embedding_dim`.*=0"),
    "embedding_dim twice": (
        lambda: HyperDense(4, embedding_dim=3, generator=LinearGenerator(4)),
        ValueError,
        "with `generator` given.*embedding_dim=3 and a generator with embedding_dim=4",
    ),
    "weight without generator": (
        lambda: GeneratedWeight(None, (2, 2)),
        TypeError,
        "generator=None",
    ),
    "weight shape": (
        lambda: GeneratedWeight(LinearGenerator(), (2, 0)),
        ValueError,
        "weight_shape",
    ),
    "integer inputs": (
        lambda: HyperConv2DTranspose(4, 3)(np.ones((2, 5, 5, 3), "int32")),
        TypeError,
        "`inputs` must be floating point. Received: dtype=int32. Cast them",
    ),
    "integer images": (
        lambda: HyperDepthwiseConv2D(3)(np.ones((2, 5, 5, 3), "uint8")),
        TypeError,
        "`inputs` must be floating point. Received: dtype=uint8",
    ),
    "dense rank": (lambda: HyperDense(4)(np.ones(3, "float32")), ValueError, "min_ndim=2.*ndim=1"),
    "conv rank": (
        lambda: HyperConv2D(4, 3)(IMAGES[0]),
        ValueError,
        "expected min_ndim=4, found ndim=3",
    ),
    "unknown channels": (
        lambda: HyperDense(4).build((None, None)),
        ValueError,
        r"last axis of the inputs.*must be known.*\(None, None\)",
    ),
    "unknown conv channels": (
        lambda: HyperConv2D(4, 3).build((None, 8, 8, None)),
        ValueError,
        r"number of channels.*must be known.*\(None, 8, 8, None\)",
    ),
    "groups": (
        lambda: HyperConv2D(4, 3, groups=2).build((None, 8, 8, 3)),
        ValueError,
        "divisible by `groups`.*groups=2",
    ),
    "nothing left": (
        lambda: HyperConv2D(4, 3)(np.ones((1, 2, 2, 3), "float32")),
        ValueError,
        "-?[0-9]",
    ),
    "condition rank": (
        lambda: HyperDense(4)(X, condition=np.ones((2, 3, 4), "float32")),
        ValueError,
        r"`condition` must have shape \(batch, dim\).*\(2, 3, 4\)",
    ),
    "condition scalar": (
        lambda: HyperDense(4)(X, condition=np.float32(1)),
        ValueError,
        r"`condition` must have shape.*\(\)",
    ),
    "condition id": (
        lambda: called(HyperDense(4))(X, condition=3),
        TypeError,
        "`condition` must be a tensor.*condition=3.*TaskEmbedding",
    ),
    "condition list": (
        lambda: called(HyperDense(4))(X, condition=[[1.0], [2.0]]),
        TypeError,
        "`condition` must be a tensor.*list",
    ),
    "condition id first": (
        lambda: HyperDense(4)(X, condition=3),
        TypeError,
        "`condition` must be a tensor.*condition=3",
    ),
    "condition unknown": (
        lambda: HyperDense(4).build((None, 6), (None, None)),
        ValueError,
        r"with a known dim.*\(None, None\)",
    ),
    "condition batch": (
        lambda: HyperDense(4)(X, condition=np.ones((3, 3), "float32")),
        ValueError,
        r"one `condition` for each sample.*\(3, 3\).*\(2, 6\).*\(dim,\)",
    ),
    "condition batch of one": (
        lambda: HyperConv2D(4, 3)(IMAGES, condition=np.ones((1, 3), "float32")),
        ValueError,
        r"one `condition` for each sample.*\(1, 3\)",
    ),
    "condition integers": (
        lambda: HyperDense(4)(X, condition=np.ones((2, 3), "int32")),
        TypeError,
        "`condition` must be floating point.*int32.*TaskEmbedding",
    ),
    "embedding of one number": (
        lambda: HyperDense(4, generator=LinearGenerator(1))(X, condition=C),
        ValueError,
        "only a sign.*embedding_dim=2 or more",
    ),
    "generate too early": (lambda: HyperDense(4).generate(), ValueError, "has no weights yet"),
    "tile": (
        lambda: HyperConv2D(4, 5, generator=TiledKernelGenerator(tile=(3, 3, 4, 4)))(IMAGES),
        ValueError,
        r"tile=\(3, 3, 4, 4\) makes kernels.*weight_shape=\(5, 5, 3, 4\)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(mistake):
    make, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=f"(?s){message}"):
        make()


def test_a_static_layer_refuses_a_condition_later():
    layer = HyperDense(4)
    layer(X)
    with pytest.raises(ValueError, match=r"was built without a condition.*\(2, 3\).*another layer"):
        layer(X, condition=C)


def test_a_conditioned_layer_needs_its_condition():
    layer = HyperDense(4)
    layer(X, condition=C)
    with pytest.raises(ValueError, match="built with a condition of width 3.*condition=None"):
        layer(X)
    with pytest.raises(ValueError, match=r"`condition` of width 3.*\(2, 5\).*create another layer"):
        layer(X, condition=np.ones((2, 5), "float32"))


def test_mistakes_are_found_while_a_functional_model_is_made():
    layer = HyperDense(4)
    layer(keras.Input((6,)), condition=keras.Input((3,)))
    with pytest.raises(ValueError, match="condition=None"):
        layer(keras.Input((6,)))
    with pytest.raises(TypeError, match="`inputs` must be floating point"):
        HyperDepthwiseConv2D(3)(keras.Input((6, 6, 2), dtype="int32"))


@pytest.mark.tensorflow
def test_a_condition_of_another_batch_is_an_error_in_a_graph_too():
    import tensorflow as tf

    for layer in (HyperDense(4), HyperDense(4, generator=LinearGenerator())):
        layer(X, condition=C)
        call = tf.function(
            lambda x, c, layer=layer: layer(x, condition=c),
            input_signature=[tf.TensorSpec((None, 6)), tf.TensorSpec((None, 3))],
        )
        assert call(X, C).shape == (2, 4)
        with pytest.raises(tf.errors.InvalidArgumentError):
            call(X, np.ones((3, 3), "float32"))


def test_an_image_that_is_too_small_for_the_kernel():
    inputs, condition = keras.Input((None, None, 3)), keras.Input((3,))
    layer = HyperConv2D(4, 3)
    layer(inputs, condition=condition)
    with pytest.raises(ValueError, match=r"(?s)output shape|negative|zero|kernel"):
        layer(IMAGES[:, :1], condition=C)


def test_there_is_no_kernel_to_read_adapt_or_quantize():
    layer = HyperDense(4)
    layer(X)
    assert not hasattr(layer, "kernel")
    with pytest.raises(NotImplementedError, match="no stored kernel to adapt"):
        layer.enable_lora(2)
    with pytest.raises(NotImplementedError, match="no stored kernel to quantize"):
        layer.quantize("int8")
