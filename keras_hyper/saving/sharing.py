"""Configurations in which layers stay shared between their owners."""

from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

import keras

from keras_hyper.saving.places import copy_of, hold_shared, mark_of
from keras_hyper.typing import Config, Tensors

T = TypeVar("T", bound=keras.Layer)
# The place of a layer in a functional model, which holds it without an argument.
_IN_GRAPH = "shared_in_graph"


def serialize_shared(
    layer: keras.Layer | None, owner: keras.Layer, name: str = "generator"
) -> Config | None:
    """Returns the configuration of a layer that other owners may share, or None for None.

    Use it in `get_config` of a layer or model that takes a generator as an argument, and
    `deserialize_shared` in `__init__`. The generator then stays shared in files, copies, clones
    and JSON.

    Args:
        layer: A layer, such as a generator, or None.
        owner: The layer or model that holds it: `self`.
        name: Argument of `owner` for this layer, if it takes several layers.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.saving import deserialize_shared, serialize_shared
        >>> @keras.saving.register_keras_serializable("docs")
        ... class Block(keras.layers.Layer):
        ...     def __init__(self, generator, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.generator = deserialize_shared(generator, self)
        ...         self.inner = HyperDense(8, generator=self.generator)
        ...     def build(self, input_shape):
        ...         self.inner.build(input_shape)
        ...     def call(self, inputs):
        ...         return self.inner(inputs)
        ...     def get_config(self):
        ...         config = {"generator": serialize_shared(self.generator, self)}
        ...         return {**super().get_config(), **config}
    """
    if layer is None:
        return None
    # Inside a saving scope, Keras marks an object from its second occurrence on. Without a mark on
    # the first, loading would create two objects, so serialize twice.
    keras.saving.serialize_keras_object(layer)
    config = keras.saving.serialize_keras_object(layer)
    config = {**config, "config": _without(config["config"], _IN_GRAPH)}
    hold_shared(layer, owner, name)
    mark = mark_of(layer, owner, name)
    # JSON, HDF5 and clones open no saving scope.
    if mark is not None and "shared_object_id" not in config:
        config["shared"] = mark
    return config


def is_config(value: object) -> TypeGuard[Config]:
    """Whether a value is a configuration from `serialize_shared`."""
    return isinstance(value, dict) and "class_name" in value


def deserialize_shared(config: Any, owner: keras.Layer, name: str = "generator") -> Any:
    """Returns the layer for a configuration from `serialize_shared`.

    All owners in a model get the same object.

    Args:
        config: A configuration. Other values, such as a layer, are returned unchanged.
        owner: The layer or model that holds it: `self`.
        name: Argument of `owner` for this layer, if it takes several layers.

    Examples:
        >>> import keras
        >>> from keras_hyper import LinearGenerator
        >>> from keras_hyper.saving import deserialize_shared, serialize_shared
        >>> owner = keras.layers.Layer()
        >>> config = serialize_shared(LinearGenerator(4), owner)
        >>> deserialize_shared(config, owner).embedding_dim
        4
    """
    if isinstance(config, dict):
        rest, make = _without(config, "shared"), keras.saving.deserialize_keras_object
        config = copy_of(config.get("shared"), lambda: make(rest))
    if isinstance(config, keras.Layer):
        hold_shared(config, owner, name)
    return config


def hold_in_graph(layer: keras.Layer, *inputs: Tensors) -> None:
    """Records that a functional model holds a layer, if the inputs are symbolic.

    The layer uses `graph_mark` in `get_config` and `copy_in_graph` in `from_config`.
    """
    if any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(inputs)):
        hold_shared(layer, layer, _IN_GRAPH)


def graph_mark(layer: keras.Layer) -> Config:
    """Returns the entry of `get_config` for a layer in a functional model, or an empty dict."""
    mark = mark_of(layer, layer, _IN_GRAPH)
    return {} if mark is None else {_IN_GRAPH: mark}


def copy_in_graph(config: Config, make: Callable[..., T]) -> T:
    """Returns the layer for a configuration with an entry from `graph_mark`.

    `make` constructs the layer from the other arguments.
    """
    return copy_of(config.get(_IN_GRAPH), lambda: make(**_without(config, _IN_GRAPH)))


def _without(config: Config, key: str) -> Config:
    return {name: value for name, value in config.items() if name != key}
