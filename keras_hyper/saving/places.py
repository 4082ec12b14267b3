"""Identities of layers that several owners share, in configurations outside of files."""

import contextlib
import gc
import inspect
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import FrameType
from typing import TypedDict, TypeVar, cast
from weakref import WeakKeyDictionary

import keras

T = TypeVar("T", bound=keras.Layer)
Copies = dict[str, keras.Layer]


class Mark(TypedDict):
    """The identity of a shared layer, and the number of a place that holds it."""

    id: str
    place: int


class _Places:
    """The places that hold one layer: owners, and the arguments by which they hold it."""

    def __init__(self) -> None:
        self.identity = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._owners: WeakKeyDictionary[keras.Layer, dict[str, int]] = WeakKeyDictionary()
        # What the configuration said of the places that hold this copy.
        self.filled: set[tuple[str, int]] = set()

    def number(self, owner: keras.Layer, name: str) -> int:
        names = self._owners.setdefault(owner, {})
        if name not in names:
            names[name] = next(self._numbers)
        return names[name]

    def has(self, owner: keras.Layer, name: str) -> bool:
        return name in self._owners.get(owner, ())

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))


_places: WeakKeyDictionary[keras.Layer, _Places] = WeakKeyDictionary()


class _Load:
    """The copies that one load of a configuration makes.

    Args:
        call: The frame of the outermost call of Keras that is in progress. It is held, so
            that it cannot be confused with a later one.
    """

    def __init__(self, call: FrameType) -> None:
        self.call: FrameType | None = call
        self.newest: Copies = {}
        gc.callbacks.append(self.release)

    def release(self, *_: object) -> None:
        """Drops the call and the copies, unless the call is still in progress."""
        try:
            if self.call is not None:
                self.call.clear()
        except RuntimeError:
            return
        self.call, self.newest = None, {}
        if self.release in gc.callbacks:
            gc.callbacks.remove(self.release)


class _Current(threading.local):
    """The load that is in progress in this thread, or was the last one."""

    load: _Load | None = None


_current = _Current()
_scope: ContextVar[Copies | None] = ContextVar("keras_hyper_one_load", default=None)


@contextlib.contextmanager
def one_load(join: bool = False) -> Iterator[None]:
    """Within it, all configurations are of one model.

    Args:
        join: Whether to belong to the load that is in progress, if there is one.
    """
    if join and (_scope.get() is not None or _outermost_call_of_keras()):
        yield
        return
    token = _scope.set({})
    try:
        yield
    finally:
        _scope.reset(token)


def _newest() -> Copies:
    """Returns the newest copy of each shared layer in the load that is in progress."""
    copies = _scope.get()
    if copies is not None:
        return copies
    call = _outermost_call_of_keras()
    if call is None:
        return {}  # One layer, constructed by itself.
    if _current.load is None or _current.load.call is not call:
        if _current.load is not None:
            _current.load.release()
        _current.load = _Load(call)
    return _current.load.newest


def _outermost_call_of_keras() -> FrameType | None:
    found, frame = None, inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("keras."):
            found = frame
        frame = frame.f_back
    return found


def hold_shared(layer: keras.Layer, owner: keras.Layer, name: str) -> None:
    """Notes that an owner holds a layer by an argument, as other owners may do."""
    _places.setdefault(layer, _Places()).number(owner, name)


def has_place(layer: keras.Layer, owner: keras.Layer, name: str) -> bool:
    """Returns whether `hold_shared` was called with these arguments."""
    return layer in _places and _places[layer].has(owner, name)


def mark_of(layer: keras.Layer, owner: keras.Layer, name: str) -> Mark | None:
    """Returns the mark of a place for a configuration, None if no other place holds the layer."""
    hold_shared(layer, owner, name)
    places = _places[layer]
    if len(places) < 2:
        return None
    return {"id": places.identity, "place": places.number(owner, name)}


def copy_of(mark: Mark | None, make: Callable[[], T]) -> T:
    """Returns the copy that a place shares with others, or constructs one.

    A model fills each place once. A place that is filled a second time in one load
    belongs to another copy of the model.
    """
    if mark is None:
        return make()
    place = (mark["id"], mark["place"])
    layer = _newest().get(mark["id"])
    if layer is None or place in _places[layer].filled:
        layer = make()
    _newest()[mark["id"]] = layer
    _places.setdefault(layer, _Places()).filled.add(place)
    return cast(T, layer)
