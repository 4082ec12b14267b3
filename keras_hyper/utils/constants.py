"""Warnings about tensors that a functional model keeps as constants."""

import warnings

import keras

from keras_hyper.typing import Tensor, Tensors


def warn_of_constants(layer: keras.Layer, *values: Tensors) -> None:
    """Warns if a layer is called on both symbolic tensors and other floating point tensors.

    Operations on tensors leave no trace, so any floating point tensor may have been computed by a
    layer. NumPy arrays, integers and variables cause no warning.
    """
    leaves = keras.tree.flatten(values)
    symbolic = any(isinstance(x, keras.KerasTensor) for x in leaves)
    for x in filter(_may_be_trained, leaves if symbolic else ()):
        warnings.warn(
            f"Layer '{layer.name}' received a tensor of shape {tuple(x.shape)} in a functional "
            "model. This tensor is a constant of the model, which neither trains nor calls "
            "the layers that computed it, such as a `TaskEmbedding`. Call these layers on a "
            "`keras.Input`. For a constant, pass a NumPy array: "
            "`keras.ops.convert_to_numpy(tensor)`.",
            stacklevel=3,
        )


def _may_be_trained(x: Tensor) -> bool:
    if not keras.ops.is_tensor(x) or isinstance(x, keras.Variable):
        return False
    return bool(keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)))
