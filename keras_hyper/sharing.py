"""Identities of layers that several owners share, in configurations outside of files."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import keras

Mark = dict[str, Any]


class _Places:
    """The places that hold one layer: owners, and the arguments by which they hold it."""

    def __init__(self) -> None:
        self.identity = uuid.uuid4().hex
        self._numbers: Iterator[int] = iter(range(2**63))
        self._owners: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()
        # What the configuration said of the places that hold this copy.
        self.filled: set[tuple[str, int]] = set()

    def number(self, owner: Any, name: str) -> int:
        names = self._owners.setdefault(owner, {})
        if name not in names:
            names[name] = next(self._numbers)
        return names[name]

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))


_places: WeakKeyDictionary[Any, _Places] = WeakKeyDictionary()


class _Copies(threading.local):
    """The newest copy of each layer that was read from a configuration in this thread."""

    def __init__(self) -> None:
        self.newest: WeakValueDictionary[str, Any] = WeakValueDictionary()


_copies = _Copies()


def hold_shared(layer: keras.layers.Layer, owner: Any, name: str) -> None:
    """Notes that an owner holds a layer, which other owners may hold too.

    Args:
        layer: The layer.
        owner: The layer or model that holds it.
        name: The argument of `owner` by which it does.
    """
    _places.setdefault(layer, _Places()).number(owner, name)


def mark_of(layer: keras.layers.Layer, owner: Any, name: str) -> Mark | None:
    """Returns what tells a shared layer, and this place of it, from others.

    Args:
        layer: The layer.
        owner: The layer or model that holds it.
        name: The argument of `owner` by which it does.

    Returns:
        A dict for the configuration, None if no other place holds the layer.
    """
    hold_shared(layer, owner, name)
    places = _places[layer]
    if len(places) < 2:
        return None
    return {"id": places.identity, "place": places.number(owner, name)}


def copy_for(mark: Mark) -> keras.layers.Layer | None:
    """Returns the copy that this place shares with others, None if it needs a new one.

    A model fills each place once. A place that is filled a second time belongs to
    another model, which has copies that the first one does not share.

    Args:
        mark: What `mark_of` returned.
    """
    layer = _copies.newest.get(mark["id"])
    if layer is None or (mark["id"], mark["place"]) in _places[layer].filled:
        return None
    return layer


def fill(mark: Mark, layer: keras.layers.Layer) -> None:
    """Notes that a copy of a shared layer is in a place.

    Args:
        mark: What `mark_of` returned.
        layer: The copy.
    """
    _copies.newest[mark["id"]] = layer
    _places.setdefault(layer, _Places()).filled.add((mark["id"], mark["place"]))
