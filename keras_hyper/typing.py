"""Type aliases for signatures."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

# A tensor of the backend, a symbolic tensor, a variable or a NumPy array. Keras has no common base.
Tensor: TypeAlias = Any
# Unknown sizes are None.
Shape: TypeAlias = Sequence[int | None]
# Arguments of `keras.initializers.get`.
Initializer: TypeAlias = keras.initializers.Initializer | str | Mapping[str, Any]
# One tensor, or a list or dict of tensors of any rank.
Condition: TypeAlias = Any
# Arguments of `keras.dtype_policies.get`.
DType: TypeAlias = keras.DTypePolicy | str | None
# The result of `get_config`.
Config: TypeAlias = dict[str, Any]
# Tensors in lists, tuples and dicts, as the inputs and outputs of Keras models.
Tensors: TypeAlias = Any
# Shapes in lists, tuples and dicts, as in `build` of a model with several inputs.
Shapes: TypeAlias = Any
# Arguments of `get` in `keras.activations`, `keras.regularizers` and `keras.constraints`.
Activation: TypeAlias = Callable[..., Any] | str | Mapping[str, Any] | None
Regularizer: TypeAlias = keras.Regularizer | str | Mapping[str, Any] | None
Constraint: TypeAlias = keras.constraints.Constraint | str | Mapping[str, Any] | None
FilePath: TypeAlias = str | os.PathLike[str]
