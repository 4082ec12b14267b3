"""Scopes that change what our classes do: while a model is baked, and while it is exported."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

_baking: ContextVar[bool] = ContextVar("keras_hyper_baking", default=False)
_given: ContextVar[Mapping[int, Any] | None] = ContextVar("keras_hyper_given", default=None)


def baking() -> bool:
    """Whether hyper layers are to construct their stock twins instead."""
    return _baking.get()


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
    """Within it, generated weights and hypernetworks use values that are given.

    Args:
        weights: By the `id` of the generated weight a kernel, by that of the hypernetwork a
            dict from path to tensor. Who is not in it, nor in an outer scope, generates.
    """
    token = _given.set({**(_given.get() or {}), **weights})
    try:
        yield
    finally:
        _given.reset(token)
