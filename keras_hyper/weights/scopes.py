"""Scopes that override or record the values that a call uses."""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeAlias

# A kernel, or the states or the `LoopRun` of a recurrent layer.
Value: TypeAlias = Any

_given: ContextVar[Mapping[int, Value] | None] = ContextVar("keras_hyper_given", default=None)
_record: ContextVar[dict[int, list[Value]] | None] = ContextVar("keras_hyper_record", default=None)


@contextlib.contextmanager
def override(values: Mapping[int, Value]) -> Iterator[None]:
    """Makes generated weights use given kernels, and recurrent layers given initial states.

    `values` has the `id` of each owner as key. Outer scopes apply to other owners.
    """
    token = _given.set({**(_given.get() or {}), **values})
    try:
        yield
    finally:
        _given.reset(token)


def given(owner: object) -> Value:
    """Returns the value that overrides the one of `owner`, or None."""
    return (_given.get() or {}).get(id(owner))


@contextlib.contextmanager
def recording() -> Iterator[dict[int, list[Value]]]:
    """Records used values in the dict that it yields, by the `id` of the owner."""
    record: dict[int, list[Value]] = {}
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


def report(owner: object, value: Value) -> None:
    """Records a value that `owner` used, inside of `recording`."""
    record = _record.get()
    if record is not None:
        record.setdefault(id(owner), []).append(value)
