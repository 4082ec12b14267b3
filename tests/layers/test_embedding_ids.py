"""Ids of `HyperEmbedding`: those that the stock layer takes."""

import keras
import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper import HyperEmbedding

IDS = np.array([[0, 1, 3], [2, 3, 0]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int64"])
@pytest.mark.parametrize("condition", [None, np.ones((2, 3), "float32")], ids=["none", "rows"])
def test_ids_of_any_dtype_are_those_of_the_stock_layer(dtype, condition):
    kwargs = {} if condition is None else {"condition": condition}
    layer, stock = HyperEmbedding(5, 4), keras.layers.Embedding(5, 4)
    ids = IDS.astype(dtype) if dtype.startswith(("int", "uint")) else IDS.astype(dtype) + 0.5
    expected = to_numpy(layer(IDS, **kwargs))
    np.testing.assert_array_equal(to_numpy(layer(ids, **kwargs)), expected)
    np.testing.assert_array_equal(to_numpy(stock(ids)), to_numpy(stock(IDS)))
