"""Weights that depend on no input, stored instead of generated."""

from typing import Any

import keras
from keras import ops

from keras_hyper.conditions import NoiseCondition
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork
from keras_hyper.kernels import Full
from keras_hyper.weights import find_weights


class Folded(keras.layers.Layer):
    """Holds the values of all weights of a model that are generated from nothing.

    Args:
        model: A built model.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        # By the id of what would generate them.
        self._stored: dict[int, keras.Variable] = {}
        # In a larger model, a hypernetwork may be there at several conditions.
        if isinstance(model, HypernetworkAt) and not _draws(model.hypernetwork):
            weights = model.hypernetwork.generated_weights
            for path, value in model.hypernetwork.generate(model.values()).items():
                self._stored[id(weights[path])] = self._store(value)
        for found in find_weights(model):
            if not found.weight.conditioned and id(found.weight) not in self._stored:
                self._stored[id(found.weight)] = self._store(found.weight())
        self.built = True

    def _store(self, value: Any) -> keras.Variable:
        dtype = keras.backend.standardize_dtype(value.dtype)
        variable = self.add_weight(shape=tuple(value.shape), dtype=dtype, initializer="zeros")
        variable.assign(value)
        return variable

    def weights_of(self) -> dict[int, Any]:
        """Returns what `override` takes."""
        return {
            key: Full(ops.convert_to_tensor(stored), batched=False)
            for key, stored in self._stored.items()
        }


def _draws(hypernetwork: Hypernetwork) -> bool:
    parts = [] if hypernetwork.condition is None else hypernetwork.condition.parts
    return any(isinstance(part, NoiseCondition) for part in parts)
