"""The dtype of products, and dtype policies that reach all sublayers."""

from collections.abc import MutableMapping

import keras

from keras_hyper.ops import to_numpy
from keras_hyper.typing import DType, Tensor
from keras_hyper.utils.graph import walk


def product_dtype(variable: keras.Variable, *tensors: Tensor) -> str:
    """Returns the dtype of a product of tensors with a variable.

    Args:
        variable: A `keras.Variable`. Inside an autocast scope its dtype is that of the
            scope, also where a wrapper calls the `call` of a layer directly.
        *tensors: Tensors of any dtype.
    """
    dtypes = [keras.backend.standardize_dtype(x.dtype) for x in (variable, *tensors)]
    # Keras's own rule rounds float64 to float32 on JAX and PyTorch.
    together = keras.backend.result_type(*dtypes)
    return "float64" if "float64" in dtypes and "float" in together else together


class PolicyLayer(keras.layers.Layer):
    """Base of the layers whose sublayers follow a `dtype_policy` that is set later.

    Sublayers stand in place of the variables of a stock layer, which follow the
    policy of their layer by themselves. Quantized sublayers keep their policy.
    """

    @property
    def dtype_policy(self) -> keras.DTypePolicy:
        """The dtype policy. Setting it sets that of all sublayers."""
        return super().dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: DType) -> None:
        keras.layers.Layer.dtype_policy.fset(self, value)
        if self.quantization_mode is None:
            for layer in walk(self):
                if layer is not self and layer.quantization_mode is None:
                    layer.dtype_policy = value

    def save_own_variables(self, store: MutableMapping[str, Tensor]) -> None:
        """Saves the variables of the layer itself."""
        save_as_arrays(self, store)


def save_as_arrays(layer: keras.Layer, store: MutableMapping[str, Tensor]) -> None:
    """Does what `keras.layers.Layer.save_own_variables` does, without NumPy's warnings."""
    variables: dict[str, Tensor] = {}
    keras.layers.Layer.save_own_variables(layer, variables)
    for name, variable in variables.items():
        store[name] = to_numpy(variable)
