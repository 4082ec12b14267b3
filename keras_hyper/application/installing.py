"""Temporary methods of layers."""

import collections
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import keras

from keras_hyper.typing import Tensors

# A layer, the name of a method, and the function to call instead.
Method = tuple[keras.Layer, str, Callable[..., Tensors]]

_lock = threading.Lock()
# How many calls in progress use a method of a layer, by the `id` of the layer and the name.
_uses: collections.Counter[tuple[int, str]] = collections.Counter()


@contextlib.contextmanager
def installed(methods: Sequence[Method]) -> Iterator[None]:
    """Sets methods of layers, and removes them when no call in any thread uses them.

    A method that is already set stays. All calls set the same function on a layer, which looks up
    the values of the layer in its context.
    """
    with _lock:
        for layer, name, method in methods:
            if not _uses[id(layer), name]:
                setattr(layer, name, method)
            _uses[id(layer), name] += 1
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
