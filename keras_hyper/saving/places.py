"""Identities of shared layers in configurations outside of `.keras` files."""

import contextlib
import gc
import inspect
import itertools
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
    """The places that hold a layer. A place is an argument of an owner."""

    def __init__(self) -> None:
        self.identity = uuid.uuid4().hex
        self.numbers: WeakKeyDictionary[keras.Layer, dict[str, int]] = WeakKeyDictionary()
        self._count = itertools.count()
        # Places in the loaded configuration that already have this copy.
        self.filled: set[tuple[str, int]] = set()

    def number(self, owner: keras.Layer, name: str) -> int:
        names = self.numbers.setdefault(owner, {})
        if name not in names:
            names[name] = next(self._count)
        return names[name]


_places: WeakKeyDictionary[keras.Layer, _Places] = WeakKeyDictionary()


class _Load:
    """The copies that one load of a configuration creates.

    Args:
        call: The frame of the outermost call of Keras in progress. A reference to it prevents
            that a later frame gets the same `id`.
    """

    def __init__(self, call: FrameType) -> None:
        self.call: FrameType | None = call
        self.newest: Copies = {}
        gc.callbacks.append(self.release)

    def release(self, *_: object) -> None:
        """Drops the frame and the copies, unless the call is still in progress."""
        try:
            if self.call is not None:
                self.call.clear()
        except RuntimeError:
            return
        self.call, self.newest = None, {}
        if self.release in gc.callbacks:
            gc.callbacks.remove(self.release)


# The current or last load.
_load: ContextVar[_Load | None] = ContextVar("keras_hyper_load", default=None)
_scope: ContextVar[Copies | None] = ContextVar("keras_hyper_one_load", default=None)


@contextlib.contextmanager
def one_load(join: bool = False) -> Iterator[None]:
    """Treats all configurations in this scope as parts of one model.

    Args:
        join: Whether to join the load in progress, if there is one.
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
    """Returns the newest copy of each shared layer in the load in progress."""
    copies = _scope.get()
    if copies is not None:
        return copies
    call = _outermost_call_of_keras()
    if call is None:
        return {}  # A single layer is constructed outside of Keras.
    load = _load.get()
    if load is None or load.call is not call:
        if load is not None:
            load.release()
        load = _Load(call)
        _load.set(load)
    return load.newest


def _outermost_call_of_keras() -> FrameType | None:
    found, frame = None, inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("keras."):
            found = frame
        frame = frame.f_back
    return found


def hold_shared(layer: keras.Layer, owner: keras.Layer, name: str) -> None:
    """Records that argument `name` of `owner` holds a layer that other owners may share."""
    _places.setdefault(layer, _Places()).number(owner, name)


def mark_of(layer: keras.Layer, owner: keras.Layer, name: str) -> Mark | None:
    """Returns the mark of a place, or None for an unknown place and the only place of a layer."""
    places = _places.get(layer, _Places())
    number = places.numbers.get(owner, {}).get(name)
    if number is None or sum(map(len, places.numbers.values())) < 2:
        return None
    return {"id": places.identity, "place": number}


def copy_of(mark: Mark | None, make: Callable[[], T]) -> T:
    """Returns the copy that a place shares with others, or constructs one with `make`.

    A model fills each place once. If a load fills a place again, it loads a second model.
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
