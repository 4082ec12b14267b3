"""Weights that depend on no input, stored instead of generated."""

from typing import Any

import keras
from keras import ops

from keras_hyper.conditions import NoiseCondition
from keras_hyper.graph import walk
from keras_hyper.kernels import Full
from keras_hyper.models.at import HypernetworkAt
from keras_hyper.models.hypernetwork import Hypernetwork
from keras_hyper.weights import GeneratedWeight


class Folded(keras.layers.Layer):
    """Holds the values of all weights of a model that are generated from nothing.

    Args:
        model: A built model.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, model: keras.Model, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        # By the id of what would generate them: a variable, or a dict from path to variable.
        self._stored: dict[int, Any] = {}
        layers = list(walk(model))
        # In a larger model, a hypernetwork may be there at several conditions.
        fixed: dict[int, Any] = {}
        if isinstance(model, HypernetworkAt) and not _draws(model.hypernetwork):
            fixed[id(model.hypernetwork)] = model.values()
        done: set[int] = set()
        for layer in layers:
            if isinstance(layer, Hypernetwork):
                done |= {id(weight) for weight in layer.generated_weights.values()}
                if layer.condition is None or id(layer) in fixed:
                    weights = layer.generate(fixed.get(id(layer)))
                    self._stored[id(layer)] = {p: self._store(w) for p, w in weights.items()}
        for layer in layers:
            if isinstance(layer, GeneratedWeight) and not (layer.conditioned or id(layer) in done):
                self._stored[id(layer)] = self._store(layer())
        self.built = True

    def _store(self, value: Any) -> keras.Variable:
        dtype = keras.backend.standardize_dtype(value.dtype)
        variable = self.add_weight(shape=tuple(value.shape), dtype=dtype, initializer="zeros")
        variable.assign(value)
        return variable

    def weights_of(self) -> dict[int, Any]:
        """Returns what `weights_scope` takes."""
        return {
            owner: {path: ops.convert_to_tensor(v) for path, v in stored.items()}
            if isinstance(stored, dict)
            else Full(ops.convert_to_tensor(stored), batched=False)
            for owner, stored in self._stored.items()
        }


def _draws(hypernetwork: Hypernetwork) -> bool:
    return any(isinstance(part, NoiseCondition) for part in hypernetwork.condition.parts)
