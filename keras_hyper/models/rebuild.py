"""Constructing a model a second time from its configuration."""

import warnings

import keras

from keras_hyper.graph import pairs, walk
from keras_hyper.sharing import one_load


def rebuild(model: keras.Model) -> keras.Model:
    """Returns a new model made from the configuration of `model`, and builds it.

    Going through the configuration, rather than replacing layers in place,
    works for Sequential, functional, nested and subclassed models and for
    layers inside wrappers alike.
    """
    # Layers of the user's own need not be registered: they are at hand.
    classes = {type(layer).__name__: type(layer) for layer in walk(model)}
    custom = {name: cls for name, cls in classes.items() if not cls.__module__.startswith("keras.")}
    with one_load(), keras.saving.custom_object_scope(custom), warnings.catch_warnings():
        # Keras only warns when it could not build, and would go on half built.
        warnings.filterwarnings("error", message=".*cannot be built automatically")
        copy = type(model).from_config(model.get_config())
        for source, target in pairs(model, copy):
            if source.built and not target.built:
                target.build_from_config(source.get_build_config())
                # A subclassed model builds its layers and does not say so itself.
                target.built = True
    return copy
