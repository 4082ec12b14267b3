"""Walking the layers of any model through their attributes."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

# What Keras calls a variable that was given no name.
_MADE_UP = re.compile(r"variable(_\d+)?")

# Where a layer sits in its parent: attribute names, list indices, dict keys.
Place = tuple[Any, ...]


def children(layer: keras.layers.Layer) -> dict[Place, keras.layers.Layer]:
    """Returns the layers that a layer holds, in attributes, lists and dicts."""
    found: dict[Place, keras.layers.Layer] = {}

    def visit(place: Place, value: Any) -> None:
        if isinstance(value, keras.layers.Layer):
            found[place] = value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                visit((*place, key), item)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            for index, item in enumerate(value):
                visit((*place, index), item)

    # PyTorch keeps sublayers apart from the other attributes.
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}
    # Keras's list of all sublayers says nothing about their places, except here.
    attributes["_layers"] = layer.layers if isinstance(layer, keras.Sequential) else ()
    for name, value in attributes.items():
        # TensorFlow keeps a second list of what it tracks.
        if name != "_modules" and not name.startswith("_self_"):
            visit((name,), value)
    return found


def pairs(
    first: keras.layers.Layer, second: keras.layers.Layer
) -> Iterator[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Yields the layers that sit in the same places of two models, parents first.

    The children of a pair are looked up after it was yielded, so that the
    caller may build it.
    """
    seen: set[int] = set()

    def visit(a: keras.layers.Layer, b: keras.layers.Layer) -> Iterator[Any]:
        if id(b) in seen:
            return
        seen.add(id(b))
        yield a, b
        ours, theirs = children(a), children(b)
        for place in ours:
            if place in theirs:
                yield from visit(ours[place], theirs[place])

    return visit(first, second)


def walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a layer and all layers below it, each once; a model's in its order."""
    seen: set[int] = set()

    def visit(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        yield layer
        ordered = layer.layers if isinstance(layer, keras.Model) else ()
        for child in (*ordered, *children(layer).values()):
            yield from visit(child)

    return visit(layer)


@dataclasses.dataclass(frozen=True)
class NamedWeight:
    """A weight of a model, by a path that does not depend on where the model was built.

    Attributes:
        path: Names of the layers below the model, and of the variable: `"block/dense/kernel"`.
        variable: The variable.
        layers: The layers on the way to it, its owner last.
    """

    path: str
    variable: keras.Variable
    layers: tuple[keras.layers.Layer, ...]


def named_weights(model: keras.layers.Layer) -> list[NamedWeight]:
    """Returns the weights of a model with their paths, in the order of its layers.

    `variable.path` has the scopes in it that were open when a layer was built, which
    are others in a file that was loaded. So are names that Keras made up for the layers
    of a class of the user's own: these go by the attribute that holds them.

    Args:
        model: A built model or layer.
    """
    found: dict[str, NamedWeight] = {}
    seen: set[int] = set()

    def visit(prefix: str, layers: tuple[keras.layers.Layer, ...]) -> None:
        layer = layers[-1]
        if id(layer) in seen:
            return
        seen.add(id(layer))
        held = children(layer)
        places: dict[int, Place] = {}
        for place, child in held.items():
            places.setdefault(id(child), place)
        below = [*(layer.layers if isinstance(layer, keras.Model) else ()), *held.values()]
        inner = {id(v) for child in below for v in child.weights}
        for v in layer.weights:
            if id(v) not in inner and id(v) not in seen:
                seen.add(id(v))
                path = _free(f"{prefix}{variable_name(v)}", found)
                found[path] = NamedWeight(path, v, layers)
        for child in below:
            name = _name(layer, child, places.get(id(child)))
            visit(f"{prefix}{name}/", (*layers, child))

    visit("", (model,))
    return list(found.values())


def variable_name(variable: keras.Variable) -> str:
    """Returns the name of a variable, without the number of one that Keras made up."""
    return "variable" if _MADE_UP.fullmatch(variable.name) else variable.name


def _name(parent: keras.layers.Layer, child: keras.layers.Layer, place: Place | None) -> str:
    """Returns a name of a child that is the same when the parent is constructed again."""
    # Keras's own layers and models construct their children with names.
    if place is None or type(parent).__module__.startswith("keras."):
        return child.name
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(child).__name__)
    made_up = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    if not re.fullmatch(rf"{made_up}(_\d+)?", child.name):
        return child.name
    return "/".join(map(str, place))


def _free(path: str, taken: Mapping[str, Any]) -> str:
    """Returns the path, with a number where layers in a list have the same name."""
    numbered = (f"{path}_{i}" if i else path for i in itertools.count())
    return next(name for name in numbered if name not in taken)
