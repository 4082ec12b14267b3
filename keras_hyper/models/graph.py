"""Walking the layers of any model through their attributes."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

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
        if name != "_modules":
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
    are others in a file that was loaded.

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
        below = [*(layer.layers if isinstance(layer, keras.Model) else ()), *_values(layer)]
        inner = {id(v) for child in below for v in child.weights}
        for v in layer.weights:
            if id(v) not in inner and id(v) not in seen:
                seen.add(id(v))
                path = _free(f"{prefix}{v.name}", found)
                found[path] = NamedWeight(path, v, layers)
        for child in below:
            visit(f"{prefix}{child.name}/", (*layers, child))

    visit("", (model,))
    return list(found.values())


def _values(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(children(layer).values())


def _free(path: str, taken: Mapping[str, Any]) -> str:
    """Returns the path, with a number where layers in a list have the same name."""
    numbered = (f"{path}_{i}" if i else path for i in itertools.count())
    return next(name for name in numbered if name not in taken)
