"""Attributes for the items of collections, which `tf.train.Checkpoint` does not track."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras


def hold(owner: keras.Layer, name: str, items: Sequence[Any] | Mapping[str, Any]) -> None:
    """Sets `owner.<name>` to a list or dict, and `owner.<name>_0`, ... to its items."""
    values = list(items.values() if isinstance(items, Mapping) else items)
    setattr(owner, name, dict(items) if isinstance(items, Mapping) else values)
    for i, item in enumerate(values):
        setattr(owner, f"{name}_{i}", item)
