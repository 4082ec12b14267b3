"""Passing on the arguments of a constructor."""

from collections.abc import Mapping
from typing import Any


def passed(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all arguments of a constructor, to pass on to that of its parent.

    Args:
        scope: What `locals()` is at the start of the constructor.
    """
    arguments = {**scope, **scope["kwargs"]}
    return {k: v for k, v in arguments.items() if k not in ("self", "__class__", "kwargs")}
