"""Constructing a model a second time from its configuration."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import keras

from keras_hyper.saving.places import one_load
from keras_hyper.utils.graph import pairs, walk

L = TypeVar("L", bound=keras.Layer)


def again(layer: L) -> L:
    """Returns a new layer or model made from the configuration of one."""
    made: L = type(layer).from_config(layer.get_config())
    return made


def rebuild(model: L, make: Callable[[L], L] = again) -> L:
    """Returns a new model or layer like `model`, and builds it.

    Args:
        model: A model of any kind, or a layer.
        make: Called with `model`, returns the new one.
    """
    # Layers of the user's own need not be registered: they are at hand.
    classes = {type(layer).__name__: type(layer) for layer in walk(model)}
    custom = {name: cls for name, cls in classes.items() if not cls.__module__.startswith("keras.")}
    with one_load(), keras.saving.custom_object_scope(custom), warnings.catch_warnings():
        # Keras only warns when it could not build, and would go on half built.
        warnings.filterwarnings("error", message=".*cannot be built automatically")
        copy = make(model)
        for source, target in pairs(model, copy):
            if source.built and not target.built:
                target.build_from_config(source.get_build_config())
                # A subclassed model builds its layers and does not say so itself.
                target.built = True
    return copy
