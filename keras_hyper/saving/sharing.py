"""Configurations that keep a layer shared which several owners hold."""

from collections.abc import Callable
from typing import Any, TypeGuard, TypeVar

import keras

from keras_hyper.saving.places import copy_of, has_place, hold_shared, mark_of
from keras_hyper.typing import Config, Tensors

T = TypeVar("T", bound=keras.Layer)
# The place in a functional model, which holds a layer without an argument.
_IN_GRAPH = "shared_in_graph"


def serialize_shared(
    layer: keras.Layer | None, owner: keras.Layer, name: str = "generator"
) -> Config | None:
    """Returns the configuration of a layer that other owners may hold too.

    For the `get_config` of layers and models that take a generator as an
    argument; their `__init__` passes the argument through `deserialize_shared`.
    The generator then stays shared in files, copies, clones and JSON.

    Args:
        layer: A layer, such as a generator, or None.
        owner: The layer or model that holds it: `self`.
        name: The argument of `owner` by which it does, if it takes several layers.

    Returns:
        Its configuration, or None.

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
    # Inside a saving scope Keras marks the second and later occurrence of an
    # object, but not the first, so that loading would make two objects of it.
    # Serializing twice makes every occurrence a marked one.
    keras.saving.serialize_keras_object(layer)
    config = keras.saving.serialize_keras_object(layer)
    inner = {key: value for key, value in config["config"].items() if key != _IN_GRAPH}
    config = {**config, "config": inner}
    mark = mark_of(layer, owner, name)
    # Outside such a scope, as for JSON, HDF5 and clones, there is a mark of ours.
    if mark is not None and "shared_object_id" not in config:
        config["shared"] = mark
    return config


def is_config(value: object) -> TypeGuard[Config]:
    """Whether a value is a configuration from `serialize_shared`."""
    return isinstance(value, dict) and "class_name" in value


def deserialize_shared(config: Any, owner: keras.Layer, name: str = "generator") -> Any:
    """Returns the layer for a configuration from `serialize_shared`.

    Args:
        config: A configuration; anything else, such as a layer, is returned.
        owner: The layer or model that holds it: `self`.
        name: The argument of `owner` by which it does, if it takes several layers.

    Returns:
        The layer, the same one for every occurrence in a model.

    Examples:
        >>> import keras
        >>> from keras_hyper import LinearGenerator
        >>> from keras_hyper.saving import deserialize_shared, serialize_shared
        >>> owner = keras.layers.Layer()
        >>> config = serialize_shared(LinearGenerator(4), owner)
        >>> generator = deserialize_shared(config, owner)
        >>> generator.embedding_dim, deserialize_shared(generator, owner) is generator
        (4, True)
    """
    if isinstance(config, dict):
        rest = {key: value for key, value in config.items() if key != "shared"}
        make = keras.saving.deserialize_keras_object
        config = copy_of(config.get("shared"), lambda: make(rest))
    if isinstance(config, keras.Layer):
        hold_shared(config, owner, name)
    return config


def hold_in_graph(layer: keras.Layer, *inputs: Tensors) -> None:
    """Notes that a functional model holds a layer, if the layer is called on its tensors.

    The layer uses `graph_mark` and `copy_in_graph` in its configuration.
    """
    if any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(inputs)):
        hold_shared(layer, layer, _IN_GRAPH)


def graph_mark(layer: keras.Layer) -> Config:
    """Returns what `get_config` adds for the place of a layer in a functional model."""
    mark = mark_of(layer, layer, _IN_GRAPH) if has_place(layer, layer, _IN_GRAPH) else None
    return {} if mark is None else {_IN_GRAPH: mark}


def copy_in_graph(config: Config, make: Callable[..., T]) -> T:
    """Returns the layer for a configuration with what `graph_mark` added.

    `make` constructs it from the other arguments.
    """
    arguments = {key: value for key, value in config.items() if key != _IN_GRAPH}
    return copy_of(config.get(_IN_GRAPH), lambda: make(**arguments))
