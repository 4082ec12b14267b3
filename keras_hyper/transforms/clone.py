"""Copies of a model with the same architecture and the same sharing of generators."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import keras

from keras_hyper.saving.places import one_load
from keras_hyper.utils.checks import check_model
from keras_hyper.utils.graph import pairs, walk

L = TypeVar("L", bound=keras.Layer)


def clone(model: keras.Model) -> keras.Model:
    """Returns a new model with the same architecture and newly initialized weights.

    Layers that share a generator share one in the copy, too. Unlike `keras.models.clone_model`,
    `clone` supports subclassed models.

    Args:
        model: A Sequential, functional or subclassed model. Subclassed models and custom layers
            need a `get_config`. If they take a generator as an argument, it must use
            `keras_hyper.saving.serialize_shared`.

    Returns:
        The new model, not compiled.

    Raises:
        TypeError: If `model` is not a Keras model.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, TiledKernelGenerator, clone
        >>> kernels = TiledKernelGenerator(tile=(8, 8), embedding_dim=4)
        >>> model = keras.Sequential([
        ...     keras.Input((16,)),
        ...     HyperDense(16, generator=kernels),
        ...     HyperDense(16, generator=kernels),
        ... ])
        >>> copy = clone(model)
        >>> copy.layers[0].generator is copy.layers[1].generator
        True
        >>> copy.layers[0].generator is kernels
        False
    """
    check_model(model)
    return rebuild(model)


def from_own_config(layer: L) -> L:
    """Returns a new layer or model constructed from the configuration of `layer`."""
    made: L = type(layer).from_config(layer.get_config())
    return made


def rebuild(model: L, make: Callable[[L], L] = from_own_config) -> L:
    """Returns a built copy of a model or layer, constructed by `make(model)`."""
    # Unregistered classes can be deserialized, too.
    classes = {type(layer).__name__: type(layer) for layer in walk(model)}
    custom = {name: cls for name, cls in classes.items() if not cls.__module__.startswith("keras.")}
    with one_load(), keras.saving.custom_object_scope(custom), warnings.catch_warnings():
        # Keras only warns if it cannot build a layer, and continues with a partly built model.
        warnings.filterwarnings("error", message=".*cannot be built automatically")
        copy = make(model)
        for source, target in pairs(model, copy):
            if source.built and not target.built:
                target.build_from_config(source.get_build_config())
                # A subclassed model that builds its layers does not set this itself.
                target.built = True
    return copy
