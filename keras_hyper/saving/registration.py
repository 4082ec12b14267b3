"""Registration of classes with Keras."""

from typing import TypeVar

import keras

T = TypeVar("T", bound=type)


def serializable(cls: T) -> T:
    """Registers a class in the package `keras_hyper`. Saved files contain this name."""
    if issubclass(cls, keras.Model):
        # HDF5 files of whole models contain the class name without the package.
        keras.saving.get_custom_objects()[cls.__name__] = cls
    keras.saving.register_keras_serializable(package="keras_hyper")(cls)
    return cls
