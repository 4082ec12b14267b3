"""Warn about tensors that a functional model keeps as constants."""

import warnings

import keras

from keras_hyper.typing import Tensor, Tensors


def warn_of_constants(layer: keras.Layer, *values: Tensors) -> None:
    """Warns if a layer is called on symbolic tensors and on the values of others.

    NumPy arrays, integers and variables are fine.

    Args:
        layer: The layer that is called.
        *values: Its arguments.
    """
    leaves = keras.tree.flatten(values)
    if not any(isinstance(x, keras.KerasTensor) for x in leaves):
        return
    for x in leaves:
        if _may_be_trained(x):
            warnings.warn(
                f"Layer '{layer.name}' received a tensor of shape {tuple(x.shape)} in a functional "
                "model. This tensor is a constant of the model, which neither trains nor calls "
                "the layers that computed it, such as a `TaskEmbedding`. Call these layers on a "
                "`keras.Input`. If you mean a constant, pass a NumPy array: "
                "`keras.ops.convert_to_numpy(tensor)`.",
                stacklevel=3,
            )


def _may_be_trained(x: Tensor) -> bool:
    # Operations on values leave no trace: all floating point tensors count.
    if not keras.ops.is_tensor(x) or isinstance(x, keras.Variable):
        return False
    return bool(keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)))
