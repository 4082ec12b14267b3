"""Registration of classes, configurations of shared layers, and writing files."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import keras

from keras_hyper.saving.sharing import copy_for, fill, hold_shared, mark_of, without_graph_mark
from keras_hyper.utils.checks import check_model
from keras_hyper.utils.files import check_ending, replacing

T = TypeVar("T", bound=type)


def serializable(cls: T) -> T:
    """Registers a class under `keras_hyper>`, the name that saved files carry."""
    if issubclass(cls, keras.Model):
        # HDF5 files of whole models have the name of the class alone.
        keras.saving.get_custom_objects()[cls.__name__] = cls
    return keras.saving.register_keras_serializable(package="keras_hyper")(cls)


def serialize_shared(
    layer: keras.layers.Layer | None, owner: keras.layers.Layer, name: str = "generator"
) -> dict[str, Any] | None:
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
    config = without_graph_mark(keras.saving.serialize_keras_object(layer))
    mark = mark_of(layer, owner, name)
    # Outside such a scope, as for JSON, HDF5 and clones, there is a mark of ours.
    if mark is not None and "shared_object_id" not in config:
        config["shared"] = mark
    return config


def hold(owner: keras.layers.Layer, name: str, items: Sequence[Any] | Mapping[str, Any]) -> None:
    """Assigns a list or dict of layers or variables to an attribute, and each to its own.

    Keras tracks what is in a collection; `tf.train.Checkpoint` finds attributes only.

    Args:
        owner: The layer that gets the attributes.
        name: Name of the attribute for the collection. The items get `name_0`, `name_1`, ...
        items: The items.
    """
    values = list(items.values() if isinstance(items, Mapping) else items)
    setattr(owner, name, dict(items) if isinstance(items, Mapping) else values)
    for i, item in enumerate(values):
        setattr(owner, f"{name}_{i}", item)


def save_model(model: keras.Model, path: Any) -> None:
    """Writes a `.keras` file so that an older one is not lost.

    `keras.Model.save` empties the older file before it writes: a process that is
    killed then, or a full disk, leaves nothing. Here the new file is written beside it,
    and renamed when it is whole.

    Args:
        model: A Keras model.
        path: Where to, with the ending `.keras`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If `path` has another ending.

    Examples:
        >>> import keras, pathlib, tempfile
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.saving import save_model
        >>> model = keras.Sequential([keras.Input((4,)), HyperDense(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(model, pathlib.Path(folder) / "model.keras")
        ...     again = keras.saving.load_model(pathlib.Path(folder) / "model.keras")
    """
    check_model(model)
    path = check_ending(path, ".keras")
    with replacing(path) as temporary:
        model.save(temporary)


def is_config(value: Any) -> bool:
    """Whether a value is a configuration from `serialize_shared`."""
    return isinstance(value, dict) and "class_name" in value


def deserialize_shared(config: Any, owner: keras.layers.Layer, name: str = "generator") -> Any:
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
    if isinstance(config, keras.layers.Layer):
        hold_shared(config, owner, name)
        return config
    if not isinstance(config, dict):
        return config
    mark = config.get("shared")
    layer = None if mark is None else copy_for(mark)
    if layer is None:
        layer = keras.saving.deserialize_keras_object(
            {key: value for key, value in config.items() if key != "shared"}
        )
    if mark is not None:
        fill(mark, layer)
    hold_shared(layer, owner, name)
    return layer
