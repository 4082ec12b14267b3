"""Scopes for the values that a call uses, and for recording them."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

# A kernel, or the states or the run of a recurrent layer.
Value: TypeAlias = Any

_given: ContextVar[Mapping[int, Value] | None] = ContextVar("keras_hyper_given", default=None)
_record: ContextVar[dict[int, list[Value]] | None] = ContextVar("keras_hyper_record", default=None)


@contextlib.contextmanager
def override(values: Mapping[int, Value]) -> Iterator[None]:
    """Within it, generated weights and recurrent layers use values that are given.

    Args:
        values: By the `id` of a `GeneratedWeight` a kernel, by that of a recurrent layer a list of
            initial states. What is neither here nor in an outer scope is as always.
    """
    token = _given.set({**(_given.get() or {}), **values})
    try:
        yield
    finally:
        _given.reset(token)


def given(owner: object) -> Value:
    """Returns the value that `owner` is to use, None for its own."""
    return (_given.get() or {}).get(id(owner))


@contextlib.contextmanager
def recording() -> Iterator[dict[int, list[Value]]]:
    """Yields a dict that fills with the values that are used within, by the `id` of the owner."""
    record: dict[int, list[Value]] = {}
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


def report(owner: object, value: Value) -> None:
    """Adds a value that `owner` used to the record, if there is one."""
    record = _record.get()
    if record is not None:
        record.setdefault(id(owner), []).append(value)
