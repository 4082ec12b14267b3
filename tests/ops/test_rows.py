"""One rule for a condition of one row: it is for one sample, whatever the layer and generator."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT
from keras_hyper import (
    ChunkedGenerator,
    HyperConv1D,
    HyperConv2DTranspose,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEmbedding,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    TemplateGenerator,
    TiledKernelGenerator,
)
from keras_hyper.ops import squeeze_column, with_known_rank

ROWS = np.ones((4, 6), "float32")
STEPS = np.ones((4, 3, 6), "float32")
IMAGES = np.ones((4, 5, 5, 2), "float32")
IDS = np.ones((4, 3), "int32")


def target():
    return keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="relu")])


def small():
    return LowRankGenerator(1, embedding_dim=3)


LAYERS = {
    "default": (lambda: HyperDense(4), ROWS),
    "linear": (lambda: HyperDense(4, generator=LinearGenerator(3)), STEPS),
    "low rank": (lambda: HyperDense(4, generator=small()), ROWS),
    "tiled": (lambda: HyperDense(4, generator=TiledKernelGenerator((2, 2))), ROWS),
    "template": (lambda: HyperDense(4, generator=TemplateGenerator(3)), STEPS),
    "chunked": (lambda: HyperDense(4, generator=ChunkedGenerator(6, (8,))), ROWS),
    "scale": (lambda: HyperDense(4, composition="scale"), STEPS),
    "add": (lambda: HyperDense(4, composition="add"), ROWS),
    "bias": (lambda: HyperDense(4, generate_bias=True, kernel_initializer="zeros"), ROWS),
    "convolution": (lambda: HyperConv1D(4, 2), STEPS),
    "depthwise": (lambda: HyperDepthwiseConv2D(3, composition="scale"), IMAGES),
    "transposed": (lambda: HyperConv2DTranspose(4, 3, generator=small()), IMAGES),
    "embedding": (lambda: HyperEmbedding(7, 4, composition="scale"), IDS),
    "hypernetwork": (lambda: Hypernetwork(target(), condition=2), ROWS),
    "mapped": (
        lambda: Hypernetwork(keras.Sequential([layers.Conv1D(3, 2)]), condition=2),
        STEPS,
    ),
}


def model_of(make, x):
    inputs, condition = keras.Input(x.shape[1:], dtype=x.dtype.name), keras.Input((2,))
    return keras.Model([inputs, condition], make()(inputs, condition=condition))


@pytest.mark.parametrize(("make", "x"), LAYERS.values(), ids=LAYERS)
def test_one_row_is_not_for_all_samples(make, x):
    model = model_of(make, x)
    with pytest.raises(ValueError, match="one `?condition`? for each sample"):
        model([x, np.ones((1, 2), "float32")])
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    dtype = tf.as_dtype(x.dtype)
    signature = [tf.TensorSpec((None, *x.shape[1:]), dtype), tf.TensorSpec((None, 2))]
    sentence = r"one row per sample.*samples:\] \[1\] \[4\]"
    for jit in (False, True):
        run = tf.function(lambda *args: model(args), input_signature=signature, jit_compile=jit)
        assert run(x, np.ones((4, 2), "float32")).shape[0] == 4
        for rows in (1, 3):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="." if jit or rows == 3 else sentence
            ):
                run(x, np.ones((rows, 2), "float32"))


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_of_any_size_go_with_conditions_of_that_size(batch):
    model = model_of(*LAYERS["tiled"])
    model.compile("sgd", "mse", jit_compile=JIT)
    # 4 samples in batches of 3: the last of them is of one.
    model.fit([ROWS, np.ones((4, 2))], np.ones((4, 4)), batch_size=batch, verbose=0)
    assert model.predict([ROWS, np.ones((4, 2))], batch_size=3, verbose=0).shape == (4, 4)


class Own(keras.Model):
    """A model of the user's that hands a condition on."""

    def __init__(self):
        super().__init__()
        self.dense = HyperDense(3)

    def call(self, inputs):
        return self.dense(inputs["a"], condition=inputs["b"])


def test_conditions_may_change_their_rank_from_call_to_call():
    model = Own()
    conditions = [np.ones(2, "float32"), np.ones((4, 2), "float32"), np.ones(2, "float32")]
    conditions = [keras.ops.convert_to_tensor(c) for c in conditions]
    x = keras.ops.convert_to_tensor(ROWS)
    for order in (conditions, conditions[::-1][:2], conditions[1:]):
        outputs = [model.predict_on_batch({"a": x, "b": c}) for c in order]
        for y in outputs[1:]:
            np.testing.assert_allclose(y, outputs[0], rtol=1e-5)


@pytest.mark.tensorflow
@pytest.mark.parametrize("jit", [False, True])
def test_values_of_unknown_rank_become_rows(jit):
    import tensorflow as tf

    run = tf.function(
        lambda value, x: (with_known_rank(value, (2,), x), with_known_rank(value, (2,))),
        input_signature=[tf.TensorSpec(None), tf.TensorSpec((None, 3))],
        jit_compile=jit,
    )
    for shape, rows in (((2,), (4, 1)), ((4, 2), (4, 4)), ((1, 2), (1, 1)), ((0, 2), (0, 0))):
        value = np.random.default_rng(0).normal(size=shape).astype("float32")
        for made, count in zip(run(value, np.ones((4, 3), "float32")), rows, strict=True):
            assert made.shape == (count, 2)
            np.testing.assert_array_equal(made, np.broadcast_to(value, (count, 2)))
    known = tf.ones((4, 5))
    assert with_known_rank(known, (2,)) is known


def test_a_column_becomes_a_vector():
    for shape in ((), (3,), (3, 1), (1, 1), (0, 1)):
        values = keras.ops.convert_to_tensor(np.zeros(shape, "int32"))
        assert tuple(squeeze_column(values).shape) == shape[:1]
