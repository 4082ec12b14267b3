"""Writing models so that older files are not lost."""

import keras

from keras_hyper.typing import FilePath
from keras_hyper.utils.checks import check_model
from keras_hyper.utils.files import check_ending, replacing


def save_model(model: keras.Model, path: FilePath) -> None:
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
    with replacing(check_ending(path, ".keras")) as temporary:
        model.save(temporary)
