"""Constructing a model a second time from its configuration."""

import keras

from keras_hyper.models.graph import pairs


def rebuild(model: keras.Model) -> keras.Model:
    """Returns a new model made from the configuration of `model`, and builds it.

    Going through the configuration, rather than replacing layers in place,
    works for Sequential, functional, nested and subclassed models and for
    layers inside wrappers alike.
    """
    copy = type(model).from_config(model.get_config())
    for source, target in pairs(model, copy):
        if source.built and not target.built:
            target.build_from_config(source.get_build_config())
            # A subclassed model builds its layers and does not say so itself.
            target.built = True
    return copy
