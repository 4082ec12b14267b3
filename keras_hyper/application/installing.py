"""The one place where methods are set on the layers of a model, for the time of a call."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import keras

from keras_hyper.typing import Tensors

Method = tuple[keras.Layer, str, Callable[..., Tensors]]

_lock = threading.Lock()
# How many calls in progress use a method that is set on a layer, by the `id` of the layer.
_uses: dict[tuple[int, str], int] = {}


@contextlib.contextmanager
def installed(methods: Sequence[Method]) -> Iterator[None]:
    """Sets methods on layers, and removes them when no call uses them.

    Calls from several threads share the methods. A method that is there already stays: all
    users of a layer's method set the same function, which asks what is given in its context.

    Args:
        methods: Layers, names of methods, and functions.
    """
    with _lock:
        for layer, name, method in methods:
            key = (id(layer), name)
            if not _uses.get(key):
                setattr(layer, name, method)
            _uses[key] = _uses.get(key, 0) + 1
    try:
        yield
    finally:
        with _lock:
            for layer, name, _ in methods:
                key = (id(layer), name)
                _uses[key] -= 1
                if not _uses[key]:
                    del _uses[key]
                    delattr(layer, name)
