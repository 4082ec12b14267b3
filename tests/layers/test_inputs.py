"""Inputs that the stock layers take: sparse, ragged, integer and empty ones, and names."""

import inspect
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyper
from conformance.descriptors import CLASSES, over
from helpers import needs_keras, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEinsumDense,
    HyperEmbedding,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
)

BACKEND = keras.backend.backend()
C = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
CONDITIONS = {"static": None, "shared": C[0], "per-sample": C}
over_conditions = pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS)
needs_sparse = pytest.mark.skipif(BACKEND == "torch", reason="Keras has no sparse tensors there")
LAYERS = {
    HyperDense: ((3,), (5,)),
    HyperConv1D: ((4, 2), (5, 3)),
    HyperConv2D: ((4, 2), (4, 4, 3)),
    HyperConv3D: ((2, 2), (3, 3, 3, 2)),
    HyperDepthwiseConv2D: ((2,), (4, 4, 3)),
    HyperConv2DTranspose: ((4, 2), (4, 4, 3)),
    HyperEmbedding: ((5, 3), (4,)),
}
over_classes = pytest.mark.parametrize("cls", LAYERS)


def sparse(array):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.sparse.from_dense(array)
    from jax.experimental.sparse import BCOO

    return BCOO.fromdense(array)


def call(layer, x, condition):
    return layer(x) if condition is None else layer(x, condition=condition)


@needs_sparse
@over_conditions
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("make", [None, LinearGenerator, LowRankGenerator])
def test_sparse_inputs_give_what_dense_ones_give(condition, dtype, make):
    x = np.array([[0, 2, 0, 0], [1, 0, 0, 3]], dtype)
    layer = HyperDense(3, generator=make and make())
    expected = to_numpy(call(layer, x.astype("float32"), condition))
    np.testing.assert_allclose(to_numpy(call(layer, sparse(x), condition)), expected, rtol=1e-5)


@needs_sparse
@pytest.mark.parametrize("conditioned", [False, True])
def test_fit_and_predict_with_sparse_inputs(conditioned):
    x, c = keras.Input((4,), sparse=True), keras.Input((3,))
    layer = HyperDense(3, generator=ChunkedGenerator(5))
    inputs = [x, c] if conditioned else [x]
    model = keras.Model(inputs, layer(x, condition=c) if conditioned else layer(x))
    model.compile("sgd", "mse")
    data = [sparse(np.eye(4, dtype="float32")[:2]), C][: len(inputs)]
    before = [v.numpy() for v in layer.trainable_variables]
    model.fit(data, np.ones((2, 3)), verbose=0)
    assert any((v.numpy() != b).any() for v, b in zip(layer.variables, before, strict=True))
    expected = to_numpy(call(layer, np.eye(4, dtype="float32")[:2], C if conditioned else None))
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-5)


@needs_sparse
@over_conditions
def test_sparse_ids_and_conditions(condition):
    ids = np.array([[0, 2, 0], [1, 0, 3]], "int32")
    layer = HyperEmbedding(5, 2)
    expected = to_numpy(call(layer, ids, condition))
    np.testing.assert_allclose(to_numpy(call(layer, sparse(ids), condition)), expected, rtol=1e-6)
    if condition is C:
        rows = layer(ids, condition=sparse(C))
        np.testing.assert_allclose(to_numpy(rows), expected, rtol=1e-5)


@pytest.mark.tensorflow
@over_conditions
@pytest.mark.parametrize("ids", [[[1, 2, 4], [3]], [[[1, 2], [3]], [[4]]]])
def test_ragged_ids(condition, ids):
    import tensorflow as tf

    ids = tf.ragged.constant(ids)
    layer = HyperEmbedding(5, 2, mask_zero=True)
    rows = call(layer, ids, condition)
    assert isinstance(rows, tf.RaggedTensor)
    expected = to_numpy(call(layer, ids.to_tensor(), condition))
    there = to_numpy(tf.ones_like(ids).to_tensor()) == 1
    np.testing.assert_allclose(to_numpy(rows.flat_values), expected[there], rtol=1e-6)
    np.testing.assert_array_equal(rows.nested_row_lengths()[0], ids.nested_row_lengths()[0])
    symbolic = HyperEmbedding(5, 2)(keras.Input((None,), dtype="int32", ragged=True))
    assert symbolic.ragged


@over_classes
@over_conditions
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_integers_are_taken_where_the_stock_layer_takes_them(cls, condition, dtype):
    args, shape = LAYERS[cls]
    x = np.ones((2, *shape)).astype(dtype)
    taken = True
    try:
        cls.stock(*args)(x)
    except Exception:
        taken = False
    layer = cls(*args)
    if not taken:
        with pytest.raises(TypeError, match="`inputs` must be floating point"):
            call(layer, x, condition)
        return
    outputs = to_numpy(call(layer, x, condition))
    expected = to_numpy(call(layer, x.astype("float32"), condition))
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    model = keras.Sequential([keras.Input(shape, dtype=dtype), cls(*args)])
    assert model.outputs[0].dtype == "float32"


@over(CLASSES)
def test_empty_batches(row):
    layer = row.make()
    full = layer(**row.data(2))
    empty = {name: value[:0] for name, value in row.data(2).items()}
    for tried in (layer, row.make()):
        outputs = tried(**empty)
        assert tuple(outputs.shape) == (0, *full.shape[1:])
        assert outputs.dtype == full.dtype
        assert np.isfinite([float(to_numpy(loss)) for loss in tried.losses]).all()


# Arguments of layers, and inputs that Keras gives outputs without positions.
NO_POSITIONS = [
    (HyperConv2DTranspose, {"filters": 4, "kernel_size": 2, "strides": 2}, (1, 5, 3), 0),
    (HyperConv2DTranspose, {"filters": 4, "kernel_size": 2, "strides": 2}, (1, 1, 3), 0),
    (HyperConv2DTranspose, {"filters": 4, "kernel_size": 1}, (0, 4, 3), None),
    (HyperConv2D, {"filters": 4, "kernel_size": 3}, (0, 4, 3), None),
    (HyperConv1D, {"filters": 4, "kernel_size": 3, "strides": 2}, (0, 3), None),
    (HyperDepthwiseConv2D, {"kernel_size": 3}, (4, 0, 3), None),
]


@over_conditions
@pytest.mark.parametrize(("cls", "arguments", "shape", "padding"), NO_POSITIONS)
def test_outputs_without_positions(cls, arguments, shape, padding, condition):
    arguments = {**arguments, "padding": "same"}
    if padding is not None:
        arguments["output_padding"] = padding
    x = np.ones((2, *shape), "float32")
    layer = cls(**arguments)
    expected = tuple(cls.stock(**arguments).compute_output_shape(x.shape))
    outputs = call(layer, x, condition)
    assert tuple(outputs.shape) == expected
    if 0 not in shape:  # PyTorch's own layer takes none without positions.
        assert tuple(cls.stock(**arguments)(x).shape) == expected
    image, context = keras.Input(shape), keras.Input((3,))
    conditioned = condition is not None and condition.ndim == 2
    symbolic = layer(image, condition=context) if conditioned else call(layer, image, condition)
    inputs = [image, context] if conditioned else [image]
    model = keras.Model(inputs, symbolic)
    model.compile("sgd", "mse")
    assert model.predict([x, C][: len(inputs)], verbose=0).shape == expected


@pytest.mark.parametrize("condition", [None, C[0]], ids=["static", "shared"])
@pytest.mark.parametrize(
    ("equation", "output_shape", "shape", "expected"),
    [
        ("...b,bc->...c", 4, (2, 3, 5, 6), (2, 3, 5, 4)),
        ("...ab,bc->...ac", (7, 4), (2, 3, 5, 7, 6), (2, 3, 5, 7, 4)),
        ("ab...,bc->ac...", 4, (2, 6, 3, 5), (2, 4, 3, 5)),
    ],
)
def test_shapes_of_an_equation_with_an_ellipsis(equation, output_shape, shape, expected, condition):
    layer = HyperEinsumDense(equation, output_shape, bias_axes="c")
    assert tuple(call(layer, np.ones(shape, "float32"), condition).shape) == expected
    assert tuple(call(layer, keras.KerasTensor(shape), condition).shape) == expected


@over_conditions
def test_a_transposed_convolution_of_nothing_is_its_bias(condition):
    layer = HyperConv2DTranspose(4, 3, bias_initializer="ones")
    outputs = to_numpy(call(layer, np.ones((2, 0, 4, 3), "float32"), condition))
    np.testing.assert_array_equal(outputs, np.ones((2, 2, 6, 4)))


@pytest.mark.parametrize("cls", [HyperConv2D, HyperConv1D, HyperDepthwiseConv2D])
def test_inputs_smaller_than_the_kernel_raise(cls):
    args, shape = LAYERS[cls]
    with pytest.raises(ValueError, match="size would be zero or negative|too small for its kernel"):
        cls(*args)(np.ones((2, *(1,) * (len(shape) - 1), shape[-1]), "float32"))


def test_a_hypernetwork_takes_empty_batches_for_each_sample():
    images = keras.Sequential(
        [keras.Input((5, 5, 2)), layers.Conv2D(6, 3), layers.Flatten(), layers.Dense(2)]
    )
    hyper = Hypernetwork(images, condition=3)
    assert hyper(np.ones((2, 5, 5, 2), "float32"), condition=C).shape == (2, 2)
    assert hyper(np.ones((0, 5, 5, 2), "float32"), condition=C[:0]).shape == (0, 2)


class Optional(layers.Layer):
    """Adds an input that may be missing."""

    def call(self, x, other=None):
        return x if other is None else x + other

    def compute_output_shape(self, x_shape, other_shape=None):
        return x_shape


@pytest.mark.parametrize("condition", [C[0], C], ids=["shared", "per-sample"])
@pytest.mark.parametrize("kind", ["list", "dict", "nested"])
def test_a_target_may_have_optional_and_nested_inputs(condition, kind):
    x, o = keras.Input((5,), name="x"), keras.Input((5,), name="o", optional=True)
    nest = {
        "list": lambda a, b: [a, b],
        "dict": lambda a, b: {"x": a, "o": b},
        "nested": lambda a, b: {"p": [a, b]},
    }[kind]
    target = keras.Model(nest(x, o), {"y": [layers.Dense(2)(Optional()(x, o))]})
    hyper = Hypernetwork(target, condition=3)
    data = np.ones((2, 5), "float32")
    alone = hyper(nest(data, None), condition=condition)["y"][0]
    zero = hyper(nest(data, 0 * data), condition=condition)["y"][0]
    np.testing.assert_allclose(to_numpy(alone), to_numpy(zero), rtol=1e-5)


@needs_sparse
@pytest.mark.parametrize("condition", [C[0], C], ids=["shared", "per-sample"])
def test_a_target_may_have_sparse_inputs(condition):
    target = keras.Sequential([keras.Input((4,), sparse=True), layers.Dense(3), layers.Dense(2)])
    hyper = Hypernetwork(target, condition=3)
    x = np.array([[0, 2, 0, 0], [1, 0, 0, 3]], "float32")
    expected = to_numpy(hyper(x, condition=condition))
    outputs = to_numpy(hyper(sparse(x), condition=condition))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


@over_classes
def test_public_methods_take_the_names_of_the_stock_layer(cls):
    args, shape = LAYERS[cls]
    layer = cls(*args)
    layer.build(input_shape=(None, *shape))
    assert layer.built
    expected = cls.stock(*args).compute_output_shape(input_shape=(2, *shape))
    assert tuple(layer.compute_output_shape(input_shape=(2, *shape))) == tuple(expected)
    dtype = "int32" if cls is HyperEmbedding else "float32"
    assert tuple(layer(inputs=np.ones((2, *shape), dtype)).shape) == tuple(expected)
    # Keras builds by the name of the argument of `call`, and so do files.
    again = cls(*args)
    again.build_from_config(layer.get_build_config())
    assert again.built
    conditioned = cls(*args)
    conditioned.build(input_shape=(None, *shape), condition_shape=(None, 3))
    assert conditioned.conditioned
    for name, method in inspect.getmembers(cls.stock, inspect.isfunction):
        if not name.startswith("_") and name not in ("build", "compute_output_shape"):
            ours, stock = (inspect.signature(m).parameters for m in (getattr(cls, name), method))
            free = any(p.kind is p.VAR_KEYWORD for p in ours.values())
            assert free or set(stock) - {"args", "kwargs"} <= set(ours), name


@over_classes
@pytest.mark.parametrize("kind", [list, tuple, lambda x: dict(zip("xc", x, strict=True))])
def test_a_condition_goes_by_its_name(cls, kind):
    args, shape = LAYERS[cls]
    with pytest.raises(ValueError, match=r"Pass a condition as .*`layer\(x, condition=c\)`"):
        cls(*args)(kind([np.ones((2, *shape), "float32"), C]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: HyperDense(4, generator=ChunkedGenerator(3), kernel_initializer="zeros")(C),
        lambda: HyperDense(4, kernel_constraint="non_neg"),
        lambda: HyperDense(
            4,
            generator=LinearGenerator(normalization="rms"),
            kernel_initializer=keras.initializers.Constant(2.0),
        )(C),
        lambda: [
            HyperDense(3, generator=g, kernel_initializer=init)(C)
            for g in [LinearGenerator(initialization="native")]
            for init in ("zeros", "ones")
        ],
    ],
)
def test_messages_show_no_address(make):
    with pytest.raises(
        ValueError, match=r"Zeros\(\)|NonNeg\(\)|Constant\(value=2.0\)|Ones\(\)"
    ) as e:
        make()
    assert " at 0x" not in str(e.value)


@needs_keras("3.14", "its `fit` warns before")
@pytest.mark.skipif(BACKEND == "torch", reason="Keras itself causes them there")
def test_no_warnings_of_copies(tmp_path):
    model = keras.Sequential([keras.Input((5,)), HyperDense(3), HyperDense(2, composition="add")])
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(np.ones((2, 5)), np.ones((2, 2)), verbose=0)
        keras_hyper.bake(model)
        plain = keras_hyper.clone(model)
        plain.save(tmp_path / "model.keras")
        keras.models.load_model(tmp_path / "model.keras")
    assert not [w for w in caught if "__array__" in str(w.message)]
