"""Wrong types of arguments raise, with the name of the argument."""

import keras
import numpy as np
import pytest

from keras_hyper import (
    ChunkedGenerator,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperLSTM,
    HyperLSTMCell,
    Hypernetwork,
    TaskEmbedding,
)
from keras_hyper.utils.checks import numeric


@pytest.mark.parametrize("padding", [3, None, ["same"], object()])
@pytest.mark.parametrize(
    "make",
    [
        lambda **kwargs: HyperConv1D(2, 3, **kwargs),
        lambda **kwargs: HyperConv2DTranspose(2, 3, **kwargs),
        lambda **kwargs: HyperDepthwiseConv2D(3, **kwargs),
    ],
    ids=["conv", "transpose", "depthwise"],
)
def test_padding(make, padding):
    with pytest.raises(ValueError, match="`padding` must be a string"):
        make(padding=padding)


@pytest.mark.parametrize("groups", [None, "2", 1.5, [1]])
def test_groups(groups):
    with pytest.raises(ValueError, match="`groups` must be a positive integer"):
        HyperConv2D(2, 3, groups=groups)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: HyperDense(2), ()),
        (lambda: HyperConv2D(2, 3), ()),
        (lambda: HyperConv2D(2, 3), (4,)),
        (lambda: HyperConv2D(2, 3), (None, 5, 5)),
        (lambda: HyperLSTM(2), ()),
        (lambda: HyperLSTM(2), (None, 5)),
        (lambda: HyperLSTMCell(2), ()),
        (lambda: HyperLSTMCell(2), (4,)),
    ],
)
def test_shapes_with_too_few_axes(make, shape):
    with pytest.raises(ValueError, match="Received"):
        make().build(shape)


def hyper():
    target = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    return Hypernetwork(target, ChunkedGenerator(8, hidden_units=(4,)), TaskEmbedding(3, 2))


@pytest.mark.parametrize("condition", ["two", ["a", "b"], object(), np.array(["a"])])
def test_a_condition_that_is_no_number(condition):
    with pytest.raises(TypeError, match="`condition` must be|must be integers|dtype"):
        hyper()(np.ones((2, 4), "float32"), condition)


@pytest.mark.parametrize("value", [1, True, 2.5, [1, 2], np.ones(2), np.float16(3), [[1], [2]]])
def test_numbers(value):
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(numeric("x", value)), value)


class Frame:
    """A table of numbers without a dtype, as a data frame is."""

    def __array__(self, dtype=None, copy=None):
        return np.array([[1, 2]], dtype)


def test_tables_of_numbers():
    np.testing.assert_array_equal(numeric("x", Frame()), [[1, 2]])


@pytest.mark.parametrize("value", ["a", None, [1, "a"], 1j, keras.layers.Dense, np.array("a")])
def test_what_is_no_number(value):
    with pytest.raises(TypeError, match="`x` must be an array of numbers. Received: x="):
        numeric("x", value)
