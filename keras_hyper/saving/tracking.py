"""Attributes for what collections hold, which `tf.train.Checkpoint` does not look into."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras


def hold(owner: keras.Layer, name: str, items: Sequence[Any] | Mapping[str, Any]) -> None:
    """Assigns a list or dict of layers or variables to an attribute, and each to its own.

    Args:
        owner: The layer that gets the attributes.
        name: Name of the attribute for the collection. The items get `name_0`, `name_1`, ...
        items: The items.
    """
    values = list(items.values() if isinstance(items, Mapping) else items)
    setattr(owner, name, dict(items) if isinstance(items, Mapping) else values)
    for i, item in enumerate(values):
        setattr(owner, f"{name}_{i}", item)
