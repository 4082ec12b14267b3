"""Atomic saving of models."""

import keras

from keras_hyper.typing import FilePath
from keras_hyper.utils.checks import check_model
from keras_hyper.utils.files import check_ending, replacing


def save_model(model: keras.Model, path: FilePath) -> None:
    """Saves a model as a `.keras` file, and replaces an existing file atomically.

    `keras.Model.save` empties the existing file first, so a killed process or a full disk loses
    it. This function writes a new file next to it, and renames it when it is complete.

    Args:
        model: A Keras model.
        path: Path with the ending `.keras`.

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
    with replacing(check_ending(path, ".keras")) as temporary:
        model.save(temporary)
