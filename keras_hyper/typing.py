"""Types that signatures of the package share."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

# A tensor of the backend, a symbolic tensor, a variable or a NumPy array: Keras
# has no class that all of them share.
Tensor: TypeAlias = Any
# A size is None where it is not known yet.
Shape: TypeAlias = Sequence[int | None]
# What `keras.initializers.get` takes.
Initializer: TypeAlias = keras.initializers.Initializer | str | Mapping[str, Any]
# One tensor, or several by name or in order, also of several ranks.
Condition: TypeAlias = Any
# What `keras.dtype_policies.get` takes.
DType: TypeAlias = keras.DTypePolicy | str | None
# What `get_config` returns.
Config: TypeAlias = dict[str, Any]
# Tensors in lists, tuples and dicts, as a Keras model takes and returns them.
Tensors: TypeAlias = Any
# Shapes in lists, tuples and dicts, as `build` of a model with several inputs takes them.
Shapes: TypeAlias = Any
# What `keras.activations.get`, `keras.regularizers.get` and `keras.constraints.get` take.
Activation: TypeAlias = Callable[..., Any] | str | Mapping[str, Any] | None
Regularizer: TypeAlias = keras.Regularizer | str | Mapping[str, Any] | None
Constraint: TypeAlias = keras.constraints.Constraint | str | Mapping[str, Any] | None
# The path of a file or folder.
FilePath: TypeAlias = str | os.PathLike[str]
