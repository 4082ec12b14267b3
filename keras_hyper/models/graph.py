"""Walking the layers of any model through their attributes."""

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
