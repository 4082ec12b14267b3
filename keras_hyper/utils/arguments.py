"""Arguments of constructors."""

from collections.abc import Mapping
from typing import Any


def passed(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a constructor, to pass to `super().__init__`.

    Args:
        scope: The result of `locals()` at the start of the constructor.
    """
    arguments = {**scope, **scope["kwargs"]}
    return {k: v for k, v in arguments.items() if k not in ("self", "__class__", "kwargs")}
