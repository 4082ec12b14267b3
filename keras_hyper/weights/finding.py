"""Search for the generated weights of a layer or model."""

import dataclasses
from collections.abc import Mapping

import keras

from keras_hyper.utils.graph import named_children, walk
from keras_hyper.weights.generated_weight import GeneratedWeight


@dataclasses.dataclass(frozen=True)
class FoundWeight:
    """A generated weight, its owner (layer or hypernetwork) and its path there."""

    owner: keras.layers.Layer
    path: str
    weight: GeneratedWeight

    @property
    def names(self) -> tuple[str, str]:
        """The names of the layer (in a hypernetwork, of the target's layer) and of the weight."""
        target = getattr(self.owner, "target", None)
        if target is None:
            return self.owner.name, self.path
        layer, _, name = self.path.rpartition("/")
        return layer or target.name, name


def held_weights(layer: keras.layers.Layer) -> dict[str, GeneratedWeight]:
    """Returns a dict from path to generated weight in the attributes and collections of a layer."""
    return {
        name: child for child, name in named_children(layer) if isinstance(child, GeneratedWeight)
    }


def find_weights(model: keras.layers.Layer) -> list[FoundWeight]:
    """Returns the generated weights of a layer or model, each once, with their owners.

    Uses the `generated_weights` of hyper layers and hypernetworks, and the `held_weights` of other
    layers.
    """
    found: dict[int, FoundWeight] = {}
    if isinstance(model, GeneratedWeight):
        found[id(model)] = FoundWeight(model, model.name, model)
    for layer in walk(model):
        weights = getattr(layer, "generated_weights", None)
        if not isinstance(weights, Mapping):
            weights = held_weights(layer)
        for path, weight in weights.items():
            found.setdefault(id(weight), FoundWeight(layer, path, weight))
    return list(found.values())
