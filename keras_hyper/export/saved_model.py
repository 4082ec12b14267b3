"""Writing a SavedModel with the endpoints that a model with generated weights needs."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import keras

from keras_hyper.export.endpoints import Endpoints
from keras_hyper.export.warmup import write_warmup
from keras_hyper.typing import FilePath, Tensor, Tensors
from keras_hyper.utils.files import replacing

# What a SavedModel has in its folder.
_PARTS = (
    *("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"),
    "keras_metadata.pb",
)


# How the names of files end, which a folder must not have.
_FILES = (
    *(".keras", ".h5", ".hdf5", ".npz", ".onnx", ".tflite", ".pb", ".pt", ".pth", ".bin"),
    *(".json", ".yaml", ".txt", ".zip", ".tar", ".gz", ".tgz", ".data"),
)


@dataclasses.dataclass(frozen=True)
class Exported:
    """What `export_saved_model` wrote.

    Attributes:
        inputs: For each endpoint, the names of what it takes.
        left_out: Endpoints that the model might have had, and why not.
    """

    inputs: dict[str, list[str]]
    left_out: dict[str, str]


def export_saved_model(
    model: keras.Model,
    path: FilePath,
    *,
    fold: bool = True,
    xla: bool = True,
    streaming: bool | None = None,
    text: keras.layers.Layer | None = None,
    warmup: Sequence[Mapping[str, Tensor]] = (),
    input_signature: Tensors = None,
) -> Exported:
    """Writes a SavedModel that serves without this package.

    It has these endpoints (signatures), with named inputs and outputs and any
    batch size:

    - `serving_default`: the model, as in inference. A `Hypernetwork` also takes its
      condition, a row for each sample, or one row for all.
    - `serve_xla`: the same, compiled by XLA.
    - `initial_state` and `step`, for recurrent models: one step, with all states as
      inputs and, called `next_...`, as outputs. `initial_state` takes a `batch_size`.
    - `generate` and `apply`, for conditioned models: from conditions to weights with a
      row for each, and from inputs and weights to outputs. One row of weights is
      used for all inputs.
    - `serve_text`, with `text`: strings instead of ids.

    Before anything is written, every endpoint is compared with the model, on random inputs
    of two batch sizes and, where an axis is free, two lengths.

    Inputs and outputs of half precision are single here, which every client has. A
    tensor of a wrong rank is refused; without that, it can end the process of a server.

    Args:
        model: A built model.
        path: The folder to write. An older one is replaced when all is written, and
            not before.
        fold: Whether weights that depend on no input are stored as they are now,
            rather than generated at every call.
        xla: Whether to write `serve_xla`.
        streaming: Whether to write `initial_state` and `step`. None: if the model
            is recurrent and its single steps give what whole sequences give, which
            is tried. True: raise otherwise.
        text: A `keras.layers.StringLookup` or `TextVectorization` that makes the ids
            that the model takes. With the TensorFlow backend.
        warmup: Requests for `serving_default` and `serve_xla`, dicts from name to
            array, that TensorFlow Serving replays when it loads the model; XLA
            compiles for each batch size. Needs the package
            `tensorflow-serving-api`.
        input_signature: What the model takes, as for `keras.Model.export`, for
            subclassed models, whose inputs are unknown.

    Returns:
        What was written, and what was left out and why.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, what it takes is not known, it
            keeps states between calls, or cannot be streamed with `streaming=True`; if
            an endpoint gives something else than the model; or if `path` is named like a
            file.

    Examples:
        >>> import keras, pathlib, tempfile
        >>> from keras_hyper import HyperLSTM, export_saved_model
        >>> model = keras.Sequential([keras.Input((None, 3)), HyperLSTM(4, hyper_units=2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = export_saved_model(model, pathlib.Path(folder) / "model")
        >>> sorted(exported.inputs)
        ['initial_state', 'serve_xla', 'serving_default', 'step']
    """
    check_folder(path)
    build = Endpoints(model, fold=fold, streaming=streaming, input_signature=input_signature)
    if xla:
        build.add_compiled()
    if text is not None:
        build.add_text(text)
    for name in build.endpoints:
        build.check(name)
    with replacing(path, folder=True, may_have=_PARTS) as folder:
        build.write(folder)
        write_warmup(folder, pathlib.Path(path).name, build.endpoints, warmup)
    return Exported(
        {name: list(endpoint.inputs) for name, endpoint in build.endpoints.items()}, build.left_out
    )


def check_folder(path: FilePath) -> None:
    """Raises if the path of a SavedModel is named like a file."""
    if pathlib.Path(path).suffix.lower() in _FILES:
        raise ValueError(
            "A SavedModel is a folder, and `path` is named like a file. Received: "
            f"path={str(path)!r}. Name a folder; or write a '.keras' file with `model.save`, and "
            "'.onnx' or '.tflite' with `export_file` (`--format` on the command line)."
        )
