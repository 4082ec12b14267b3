"""Dtypes of products, and dtype policies that apply to all sublayers."""

from collections.abc import MutableMapping

import keras

from keras_hyper.ops import to_numpy
from keras_hyper.typing import DType, Tensor
from keras_hyper.utils.graph import walk


def product_dtype(variable: keras.Variable, *tensors: Tensor) -> str:
    """Returns the dtype of a product of tensors with a variable.

    In an autocast scope, `variable.dtype` is the dtype of the scope. This holds even when a
    wrapper calls `call` of a layer directly.
    """
    dtypes = [keras.backend.standardize_dtype(x.dtype) for x in (variable, *tensors)]
    # Keras's own rule rounds float64 to float32 on JAX and PyTorch.
    together = keras.backend.result_type(*dtypes)
    return "float64" if "float64" in dtypes and "float" in together else together


class PolicyLayer(keras.layers.Layer):
    """Base layer that propagates a new `dtype_policy` to its sublayers.

    The sublayers replace variables of a stock layer, which follow the policy of their layer.
    Quantized sublayers keep their policy.
    """

    @property
    def dtype_policy(self) -> keras.DTypePolicy:
        """The dtype policy of the layer and its sublayers."""
        return super().dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: DType) -> None:
        keras.layers.Layer.dtype_policy.fset(self, value)
        if self.quantization_mode is None:
            for layer in walk(self):
                if layer is not self and layer.quantization_mode is None:
                    layer.dtype_policy = value

    def save_own_variables(self, store: MutableMapping[str, Tensor]) -> None:
        """Saves the variables as NumPy arrays. With tensors, NumPy would warn."""
        variables: dict[str, Tensor] = {}
        # The stock layer that a subclass also inherits from would save its kernel.
        keras.layers.Layer.save_own_variables(self, variables)
        for name, variable in variables.items():
            store[name] = to_numpy(variable)
