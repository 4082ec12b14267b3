"""Registration of classes, and configurations of layers that several parents share."""

from typing import Any, TypeVar

import keras

from keras_hyper.scopes import cloning

T = TypeVar("T", bound=type)


def serializable(cls: T) -> T:
    """Registers a class under `keras_hyper>`, the name that saved files carry."""
    return keras.saving.register_keras_serializable(package="keras_hyper")(cls)


def serialize_shared(layer: keras.layers.Layer | None) -> dict[str, Any] | None:
    """Returns the configuration of a layer that other parents may hold too.

    Inside a saving scope Keras marks the second and later occurrence of an
    object, but not the first, so that loading would make two objects of it.
    Serializing twice makes every occurrence a marked one.
    """
    if layer is None:
        return None
    copies = cloning()
    if copies is not None:
        return copies.config(layer)
    keras.saving.serialize_keras_object(layer)
    return keras.saving.serialize_keras_object(layer)


def deserialize_shared(config: Any) -> Any:
    """Returns the layer for a configuration from `serialize_shared`; others pass."""
    if not isinstance(config, dict):
        return config
    copies = cloning()
    if copies is not None and "shared_copy_of" in config:
        return copies.layer(config)
    return keras.saving.deserialize_keras_object(config)
