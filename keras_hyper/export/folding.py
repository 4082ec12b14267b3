"""Folding: weights that depend on no input are stored instead of generated."""

import keras
from keras import ops

from keras_hyper.conditions import NoiseCondition
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.kernels import Full, Kernel
from keras_hyper.typing import Tensor
from keras_hyper.weights import find_weights
from keras_hyper.weights.scopes import recording


class Folded(keras.layers.Layer):
    """Stores the generated weights of a model that depend on no input.

    A thin weight is stored as its factors, and any other weight as one tensor.

    Args:
        model: A built model.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(trainable=False)
        with recording() as made:
            # Only for the model itself: a larger model may use several conditions.
            condition = model.hypernetwork.condition if isinstance(model, HypernetworkAt) else None
            if condition is not None and not any(
                isinstance(part, NoiseCondition) for part in condition.parts
            ):
                model.hypernetwork.generate(model.values())
            for found in find_weights(model):
                if not found.weight.conditioned:
                    found.weight.kernel()
        # By the `id` of the `GeneratedWeight`.
        self._stored: dict[int, tuple[Kernel, list[keras.Variable]]] = {}
        for key, (*_, kernel) in made.items():
            held = kernel if kernel.thin else Full(kernel.materialize(), batched=False)
            self._stored[key] = held, [self._store(x) for x in held.tensors()]
        self.built = True

    def _store(self, value: Tensor) -> keras.Variable:
        dtype = keras.backend.standardize_dtype(value.dtype)
        variable = self.add_weight(shape=tuple(value.shape), dtype=dtype, initializer="zeros")
        variable.assign(value)
        return variable

    def weights_of(self) -> dict[int, Kernel]:
        """Returns kernels of the stored weights, for `override`."""
        return {
            key: kernel.with_tensors(map(ops.convert_to_tensor, variables))
            for key, (kernel, variables) in self._stored.items()
        }
