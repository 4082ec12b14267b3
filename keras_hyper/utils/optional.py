"""Optional dependencies."""

import importlib
from types import ModuleType


def optional(advice: str, *names: str) -> list[ModuleType]:
    """Returns the named modules. Raises `ImportError(advice)` if one is not installed."""
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(advice) from error
