"""Folding: weights that depend on no input are stored instead of generated."""

import keras
from keras import ops

from keras_hyper.conditions import NoiseCondition
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.kernels import Full, Kernel
from keras_hyper.weights import find_weights
from keras_hyper.weights.scopes import recording


class Folded:
    """Stores the weights of a model that depend on no input, thin weights as their factors.

    Attributes:
        weights: The stored tensors, as variables.
    """

    def __init__(self, model: keras.Model) -> None:
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
            self._stored[key] = held, [keras.Variable(x, trainable=False) for x in held.tensors()]
        self.weights = [v for _, variables in self._stored.values() for v in variables]

    def kernels(self) -> dict[int, Kernel]:
        """Returns kernels of the stored weights, for `override`."""
        return {
            key: kernel.with_tensors(map(ops.convert_to_tensor, variables))
            for key, (kernel, variables) in self._stored.items()
        }
