"""Tensors as arrays."""

import keras
import numpy as np
from keras import ops

from keras_hyper.ops.rms_normalize import at_least_float32
from keras_hyper.typing import Tensor


def to_numpy(value: Tensor) -> Tensor:
    """Returns a tensor or variable as an array of its type.

    Args:
        value: A tensor, a `keras.Variable` or an array.
    """
    # NumPy warns of copies where Keras hands it a variable itself.
    if isinstance(value, keras.Variable):
        value = ops.stop_gradient(value)
    if not len(value.shape):
        # TensorFlow's scalars of bfloat16 cannot be converted.
        return ops.convert_to_numpy(ops.reshape(value, (1,)))[0, ...]
    return ops.convert_to_numpy(value)


def as_array(tensor: Tensor) -> np.ndarray:
    """Returns a tensor or variable as an array, of a type that NumPy and its files have.

    Args:
        tensor: A tensor, variable or array of any type. Half precision becomes single.
    """
    if not isinstance(tensor, keras.Variable):
        tensor = ops.convert_to_tensor(tensor)
    if keras.backend.is_float_dtype(tensor.dtype):
        tensor = ops.cast(ops.stop_gradient(tensor), at_least_float32(tensor.dtype))
    return np.asarray(to_numpy(tensor))
