"""What our classes do while a model is constructed a second time, or exported.

`clone` and `bake` both construct a model again from its configuration
(`keras_hyper.models.rebuild`). What differs is what our own classes do
meanwhile, and that is what two of the scopes here tell them. The third gives
generated weights to what would generate them.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import keras

_baking: ContextVar[bool] = ContextVar("keras_hyper_baking", default=False)
_cloning: ContextVar["SharedCopies | None"] = ContextVar("keras_hyper_cloning", default=None)

_given: ContextVar[Mapping[int, Any] | None] = ContextVar("keras_hyper_given", default=None)


class SharedCopies:
    """Remembers one copy for each shared layer that is met while cloning."""

    def __init__(self) -> None:
        self._originals: dict[int, keras.layers.Layer] = {}
        self._copies: dict[int, keras.layers.Layer] = {}

    def config(self, layer: keras.layers.Layer) -> dict[str, int]:
        """Returns a stand-in for the configuration of `layer`."""
        self._originals[id(layer)] = layer
        return {"shared_copy_of": id(layer)}

    def layer(self, config: dict[str, int]) -> keras.layers.Layer:
        """Returns the one new layer that stands for the original in `config`."""
        key = config["shared_copy_of"]
        if key not in self._copies:
            original = self._originals[key]
            self._copies[key] = type(original).from_config(original.get_config())
        return self._copies[key]


def cloning() -> SharedCopies | None:
    """Returns the copies made so far inside `clone_scope`, None outside."""
    return _cloning.get()


def baking() -> bool:
    """Whether hyper layers are to construct their stock twins instead."""
    return _baking.get()


@contextlib.contextmanager
def clone_scope() -> Iterator[None]:
    """Within it, a shared generator that is built again stays one generator."""
    token = _cloning.set(SharedCopies())
    try:
        yield
    finally:
        _cloning.reset(token)


@contextlib.contextmanager
def bake_scope() -> Iterator[None]:
    """Within it, constructing a hyper layer gives the stock layer."""
    token = _baking.set(True)
    try:
        yield
    finally:
        _baking.reset(token)


def given(owner: Any) -> Any:
    """Returns the weights that `owner` is to use, None if it is to generate them."""
    return (_given.get() or {}).get(id(owner))


@contextlib.contextmanager
def weights_scope(weights: Mapping[int, Any]) -> Iterator[None]:
    """Within it, slots and hypernetworks use weights that are given.

    Args:
        weights: By the `id` of the slot a kernel, by that of the hypernetwork a
            dict from path to tensor. Who is not in it, nor in an outer scope, generates.
    """
    token = _given.set({**(_given.get() or {}), **weights})
    try:
        yield
    finally:
        _given.reset(token)
