"""Tensors and variables as arrays, of every shape and dtype."""

import keras
import numpy as np
import pytest

from keras_hyper.ops import as_array, to_numpy


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int32"])
@pytest.mark.parametrize("shape", [(), (1,), (2, 0), (2, 3)])
def test_a_variable_or_its_value_is_an_array(shape, dtype):
    variable = keras.Variable(np.full(shape, 2), dtype=dtype, trainable=False)
    for value in (variable, keras.ops.convert_to_tensor(variable)):
        array = to_numpy(value)
        assert isinstance(array, np.ndarray)
        assert keras.backend.standardize_dtype(array.dtype) == dtype
        assert array.shape == shape
        wide = as_array(value)
        assert wide.dtype.name == dtype.replace("bfloat16", "float32").replace("float16", "float32")
        np.testing.assert_array_equal(wide, np.full(shape, 2))
