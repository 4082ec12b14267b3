"""The scope that gives weights to what would generate them, for exports."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

_given: ContextVar[Mapping[int, Any] | None] = ContextVar("keras_hyper_given", default=None)


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
