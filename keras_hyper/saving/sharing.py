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
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import keras

Mark = dict[str, Any]
T = TypeVar("T", bound=keras.layers.Layer)
# The place in a functional model, which holds a layer without an argument.
_IN_GRAPH = "shared_in_graph"


class _Places:
    """The places that hold one layer: owners, and the arguments by which they hold it."""

    def __init__(self) -> None:
        self.identity = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._owners: WeakKeyDictionary[Any, dict[str, int]] = WeakKeyDictionary()
        # What the configuration said of the places that hold this copy.
        self.filled: set[tuple[str, int]] = set()

    def number(self, owner: Any, name: str) -> int:
        names = self._owners.setdefault(owner, {})
        if name not in names:
            names[name] = next(self._numbers)
        return names[name]

    def has(self, owner: Any, name: str) -> bool:
        return name in self._owners.get(owner, ())

    def __len__(self) -> int:
        return sum(map(len, self._owners.values()))


_places: WeakKeyDictionary[Any, _Places] = WeakKeyDictionary()


class _Scope:
    """What `one_load` opens, with the one method of a frame that is used here."""

    is_open = True

    def clear(self) -> None:
        """Raises if the scope is open."""
        if self.is_open:
            raise RuntimeError("The scope is open.")


class _Load:
    """The copies that one load of a configuration makes.

    Args:
        call: The frame of the outermost call of Keras that is in progress, or a scope.
            It is held, so that it cannot be confused with a later one.
    """

    def __init__(self, call: FrameType | _Scope) -> None:
        self.call: FrameType | _Scope | None = call
        self.newest: dict[str, Any] = {}
        gc.callbacks.append(self.release)

    def release(self, *_: Any) -> None:
        """Drops the call and the copies, unless the call is still in progress."""
        if self.call is not None:
            try:
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
_scope: ContextVar[_Scope | None] = ContextVar("keras_hyper_one_load", default=None)


@contextlib.contextmanager
def one_load(join: bool = False) -> Iterator[None]:
    """Within it, all configurations are of one model.

    Args:
        join: Whether to belong to the load that is in progress, if there is one.
    """
    if join and (_scope.get() or _outermost_call_of_keras()):
        yield
        return
    scope = _Scope()
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)
        scope.is_open = False


def _newest() -> dict[str, Any]:
    """Returns the newest copy of each shared layer in the load that is in progress."""
    call = _scope.get() or _outermost_call_of_keras()
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


def hold_shared(layer: keras.layers.Layer, owner: Any, name: str) -> None:
    """Notes that an owner holds a layer, which other owners may hold too.

    Args:
        layer: The layer.
        owner: The layer or model that holds it.
        name: The argument of `owner` by which it does.
    """
    _places.setdefault(layer, _Places()).number(owner, name)


def hold_in_graph(layer: keras.layers.Layer, *inputs: Any) -> None:
    """Notes that a functional model holds a layer, if the layer is called on its tensors.

    Args:
        layer: The layer, for which `graph_mark` and `copy_in_graph` are used.
        *inputs: Its arguments.
    """
    if any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(inputs)):
        hold_shared(layer, layer, _IN_GRAPH)


def graph_mark(layer: keras.layers.Layer) -> dict[str, Mark]:
    """Returns what `get_config` adds for the place of a layer in a functional model.

    Args:
        layer: The layer.
    """
    places = _places.get(layer)
    if places is None or not places.has(layer, _IN_GRAPH):
        return {}
    mark = mark_of(layer, layer, _IN_GRAPH)
    return {} if mark is None else {_IN_GRAPH: mark}


def without_graph_mark(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the configuration of a layer for another place than a functional model."""
    inner = {key: value for key, value in config["config"].items() if key != _IN_GRAPH}
    return {**config, "config": inner}


def copy_in_graph(config: dict[str, Any], make: Callable[..., T]) -> T:
    """Returns the layer for a configuration with what `graph_mark` added.

    Args:
        config: The configuration.
        make: Function of its arguments that constructs the layer.
    """
    config = dict(config)
    mark = config.pop(_IN_GRAPH, None)
    layer: Any = None if mark is None else copy_for(mark)
    layer = make(**config) if layer is None else layer
    if mark is not None:
        fill(mark, layer)
    return layer


def mark_of(layer: keras.layers.Layer, owner: Any, name: str) -> Mark | None:
    """Returns the identity of a shared layer and the number of this place.

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

    A model fills each place once. A place that is filled a second time in one load
    belongs to another copy of the model.

    Args:
        mark: What `mark_of` returned.
    """
    layer = _newest().get(mark["id"])
    if layer is None or (mark["id"], mark["place"]) in _places[layer].filled:
        return None
    found: keras.layers.Layer = layer
    return found


def fill(mark: Mark, layer: keras.layers.Layer) -> None:
    """Records that a copy of a shared layer is in a place.

    Args:
        mark: What `mark_of` returned.
        layer: The copy.
    """
    _newest()[mark["id"]] = layer
    _places.setdefault(layer, _Places()).filled.add((mark["id"], mark["place"]))
