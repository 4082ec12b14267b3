"""Traversal of the layers of any model through their attributes."""

import dataclasses
import itertools
import re
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from typing import Any

import keras

# Auto-generated names of variables.
_MADE_UP = re.compile(r"variable(_\d+)?")

# Prefixes of the attributes that TensorFlow adds. A user's attribute may also start with `_self_`.
_OF_TENSORFLOW = "extra_variables name_based_ saveable_ setattr_ unconditional_ update_uid"
_TENSORFLOW = tuple(f"_self_{start}" for start in _OF_TENSORFLOW.split())
# Attributes in which Keras keeps sublayers, besides the attributes of the class.
LISTS_OF_KERAS = ("_layers", "_operations", "_operations_by_depth")

# The position of a layer in its parent: attribute names, list indices, dict keys.
Place = tuple[Any, ...]


def children(layer: keras.Layer) -> dict[Place, keras.Layer]:
    """Returns the layers that a layer holds in attributes and collections.

    These are all layers that Keras tracks, including layers in sets and layers whose attribute
    was reassigned.
    """
    found: dict[Place, keras.Layer] = {}

    def visit(place: Place, value: object) -> None:
        if isinstance(value, keras.Layer):
            found[place] = value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                visit((*place, key), item)
        elif isinstance(value, Set | Sequence) and not isinstance(value, str | bytes):
            for index, item in enumerate(value):
                visit((*place, index), item)

    # PyTorch keeps sublayers in `_modules`, apart from the other attributes.
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}
    for name, value in attributes.items():
        if name not in ("_layers", "_modules") and not name.startswith(_TENSORFLOW):
            visit((name,), value)
    # Attributes are more stable places than indices in Keras's list, so the list comes last.
    tracked = layer.layers if isinstance(layer, keras.Sequential) else vars(layer)["_layers"]
    known = {id(child) for child in found.values()}
    found |= {("_layers", i): x for i, x in enumerate(tracked) if id(x) not in known}
    # Attributes have a different order on PyTorch, and every backend reads the same files.
    order = {id(child): index for index, child in enumerate(tracked)}
    return dict(sorted(found.items(), key=lambda item: order.get(id(item[1]), len(order))))


def seed_states(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the states of the random generators of a layer and its sublayers."""
    return [v for v in layer.variables if v.name == "seed_generator_state"]


def pairs(
    first: keras.Layer, second: keras.Layer, seen: set[int] | None = None
) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Yields the layers in the same places of two models, parents first.

    The caller may build a pair before the next step, which looks up its children. Each layer of
    `second` is yielded once: `seen` collects the `id` of each, and skips ids that it contains.
    """
    seen = set() if seen is None else seen
    waiting = [(first, second)]
    while waiting:
        one, other = waiting.pop()
        if id(other) in seen:
            continue
        seen.add(id(other))
        yield one, other
        ours, theirs = children(one), children(other)
        waiting += [(ours[place], theirs[place]) for place in reversed(ours) if place in theirs]


def walk(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yields a layer and all of its sublayers, each once, in the order of their model."""
    seen: set[int] = set()
    waiting = [layer]
    while waiting:
        layer = waiting.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        waiting += reversed(_ordered(layer, children(layer)))


def _ordered(layer: keras.Layer, held: Mapping[Place, keras.Layer]) -> list[keras.Layer]:
    """Returns the `held` layers of a layer, each once. Functional models have a graph order."""
    first = layer.layers if isinstance(layer, keras.Model) else ()
    return list({id(child): child for child in (*first, *held.values())}.values())


@dataclasses.dataclass(frozen=True)
class NamedWeight:
    """A weight of a model, with a path that is the same in every process.

    Attributes:
        path: Names of the layers below the model and of the variable: `"block/dense/kernel"`.
        variable: The variable.
        layers: The layers from the model to the owner of the variable.
        logical_shape: Shape of the weight before quantization, if its layer is quantized.
    """

    path: str
    variable: keras.Variable
    layers: tuple[keras.Layer, ...]
    logical_shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight before quantization."""
        return self.logical_shape or tuple(self.variable.shape)


def named_weights(model: keras.Layer) -> list[NamedWeight]:
    """Returns the weights of a model with their paths, in the order of its layers.

    Paths consist of layer names. Auto-generated names differ between processes, unless a
    configuration keeps them. Otherwise the path has the attribute that holds the layer, or the
    name without its number if there is no attribute.

    `variable.path` depends on the scopes in which the layer was built. These differ in a model
    that was loaded from a file.
    """
    found: dict[str, NamedWeight] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, tuple[keras.Layer, ...], bool]] = [("", (model,), True)]
    while waiting:
        prefix, layers, kept = waiting.pop()
        layer = layers[-1]
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        # Classes of Keras restore the names of their layers.
        kept = kept and _is_of_keras(layer)
        for name, variable in own_weights(layer).items():
            if id(variable) not in seen:
                seen.add(id(variable))
                path = _free(prefix + name, found)
                found[path] = NamedWeight(path, variable, layers)
        held = reversed(named_children(layer, kept))
        waiting += [(f"{prefix}{name}/", (*layers, child), kept) for child, name in held]
    return list(found.values())


def own_weights(layer: keras.Layer) -> dict[str, keras.Variable]:
    """Returns a dict of the weights of a built layer, without those of its sublayers."""
    inner = {id(v) for child in children(layer).values() for v in child.weights}
    own: dict[str, keras.Variable] = {}
    for variable in layer.weights:
        if id(variable) not in inner:
            own[_free(variable_name(variable), own)] = variable
    return own


def variable_name(variable: keras.Variable) -> str:
    """Returns the name of a variable. Auto-generated names lose their number."""
    return "variable" if _MADE_UP.fullmatch(variable.name) else variable.name


def is_of_lora(variable: keras.Variable) -> bool:
    """Whether LoRA added a variable to its layer."""
    return str(variable.name).startswith("lora_")


def named_children(parent: keras.Layer, kept: bool = False) -> list[tuple[keras.Layer, str]]:
    """Returns the layers that a layer holds, each once, with unique names.

    `kept` is True if the configuration of the parent keeps auto-generated names.
    """
    held = children(parent)
    places: dict[int, Place] = {}
    for place, child in held.items():
        if place[0] not in LISTS_OF_KERAS and not _is_of_keras(parent):
            places.setdefault(id(child), place)
    names: dict[str, keras.Layer] = {}
    for child in _ordered(parent, held):
        name = child.name
        if not kept and (made_up := _match_made_up(child)):
            name = "/".join(map(str, places.get(id(child), (made_up[1],))))
        names[_free(name, names)] = child
    return [(child, name) for name, child in names.items()]


def has_made_up_name(layer: keras.Layer) -> bool:
    """Whether the name of a layer may be auto-generated, with a number of this process."""
    return _match_made_up(layer) is not None


def _match_made_up(layer: keras.Layer) -> re.Match[str] | None:
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    first = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    # `Bidirectional` adds a prefix to the name of a layer.
    return re.fullmatch(rf"((?:forward_|backward_)?{first})(_\d+)?", layer.name)


def _is_of_keras(layer: keras.Layer) -> bool:
    return type(layer).__module__.startswith("keras.")


def _free(name: str, taken: Container[str]) -> str:
    """Returns the name, with a number if it is taken."""
    numbered = (f"{name}_{i}" if i else name for i in itertools.count())
    return next(name for name in numbered if name not in taken)


def finish_loading(model: keras.Layer) -> None:
    """Updates the constants that `Normalization` layers compute from their variables."""
    for layer in walk(model):
        if layer.built and hasattr(layer, "finalize_state"):
            layer.finalize_state()
