"""Finding the generated weights of any layer or model."""

import dataclasses
from collections.abc import Iterator, Mapping

import keras

from keras_hyper.utils.graph import named_children, walk
from keras_hyper.weights.generated_weight import GeneratedWeight


@dataclasses.dataclass(frozen=True)
class FoundWeight:
    """A generated weight of a model.

    Attributes:
        owner: The layer or hypernetwork that uses it.
        path: Its path in `owner.generated_weights`.
        weight: The generated weight.
    """

    owner: keras.layers.Layer
    path: str
    weight: GeneratedWeight

    @property
    def names(self) -> tuple[str, str]:
        """The name of a layer, and of the weight in it. A hypernetwork's are in its target."""
        target = getattr(self.owner, "target", None)
        if target is None:
            return self.owner.name, self.path
        layer, _, name = self.path.rpartition("/")
        return layer or target.name, name


def held_weights(layer: keras.layers.Layer) -> dict[str, GeneratedWeight]:
    """Returns the generated weights that a layer holds in attributes and collections, by path.

    Args:
        layer: Any layer.
    """
    return {
        name: child for child, name in named_children(layer) if isinstance(child, GeneratedWeight)
    }


def find_weights(model: keras.layers.Layer) -> list[FoundWeight]:
    """Returns the generated weights of a model, each once, with their owners.

    These are the `generated_weights` of hyper layers and hypernetworks, and what a user's layer
    holds in attributes and collections.

    Args:
        model: A layer or model.
    """
    found: dict[int, FoundWeight] = {}
    for weight in _every(model):
        found.setdefault(id(weight.weight), weight)
    return list(found.values())


def _every(model: keras.layers.Layer) -> Iterator[FoundWeight]:
    if isinstance(model, GeneratedWeight):
        yield FoundWeight(model, model.name, model)
    for layer in walk(model):
        weights = getattr(layer, "generated_weights", None)
        for path, weight in (
            weights if isinstance(weights, Mapping) else held_weights(layer)
        ).items():
            yield FoundWeight(layer, path, weight)
