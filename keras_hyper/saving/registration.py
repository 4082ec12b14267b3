"""Registration of classes under the name of the package."""

from typing import TypeVar

import keras

T = TypeVar("T", bound=type)


def serializable(cls: T) -> T:
    """Registers a class under `keras_hyper>`, the name that saved files carry."""
    if issubclass(cls, keras.Model):
        # HDF5 files of whole models have the name of the class alone.
        keras.saving.get_custom_objects()[cls.__name__] = cls
    keras.saving.register_keras_serializable(package="keras_hyper")(cls)
    return cls
