"""Packages that only some functions need."""

import importlib
from types import ModuleType


def optional(advice: str, *names: str) -> list[ModuleType]:
    """Returns modules by their names, or raises `ImportError` with an advice.

    Args:
        advice: What needs the modules, and how to install them.
        *names: Names of modules.
    """
    try:
        return [importlib.import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(advice) from error
