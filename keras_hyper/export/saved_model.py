"""Export of SavedModels with the endpoints that generated weights need."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import keras

from keras_hyper.export.endpoints import Endpoints
from keras_hyper.export.warmup import write_warmup
from keras_hyper.typing import FilePath, Tensor, Tensors
from keras_hyper.utils.files import replacing

# Files and folders in the folder of a SavedModel.
_PARTS = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}
_PARTS |= {"keras_metadata.pb"}

# Endings of files.
_FILES = re.compile(
    r"\.(keras|h5|hdf5|npz|onnx|tflite|pb|pt|pth|bin|json|yaml|txt|zip|tar|gz|tgz|data)"
)


@dataclasses.dataclass(frozen=True)
class Exported:
    """The endpoints that `export_saved_model` wrote.

    Attributes:
        inputs: Dict from the name of an endpoint to the names of its inputs.
        left_out: Dict from the name of an endpoint that could not be made to the reason.
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
    """Writes a SavedModel, which serves the model without this package.

    It has these endpoints (signatures), with named inputs and outputs and any batch size:

    - `serving_default`: the model in inference. A `Hypernetwork` also takes its condition: a row
      for each sample, or one row for all.
    - `serve_xla`: the same, compiled by XLA.
    - `initial_state` and `step`, for recurrent models: one step from states to states called
      `next_...`. `initial_state` takes a `batch_size`.
    - `generate` and `apply`, for conditioned models: from conditions to per-sample weights, and
      from inputs and weights to outputs. One row of weights may serve all inputs.
    - `generate_factored` and `apply_factored`, if factors have fewer parameters than weights.
    - `serve_text`, with `text`: strings instead of ids.

    Before anything is written, every endpoint is compared with the model, on random inputs of two
    batch sizes and two lengths of free axes. Inputs and outputs of half precision become single
    precision. A tensor of a wrong rank raises an error, and does not end the server.

    Args:
        model: A built model.
        path: The folder to write. An older SavedModel is replaced once the new one is complete.
        fold: Whether to store weights that depend on no input, instead of generating them at
            every call.
        xla: Whether to write `serve_xla`.
        streaming: Whether to write `initial_state` and `step`. None (default): if the model is
            recurrent, and single steps equal whole sequences. True: raise otherwise.
        text: A `keras.layers.StringLookup` or `TextVectorization` that converts strings to the
            ids that the model takes. Needs the TensorFlow backend.
        warmup: Requests for `serving_default` and `serve_xla`, as dicts from name to array.
            TensorFlow Serving replays them when it loads the model, so that XLA compiles these
            batch sizes. Needs the package `tensorflow-serving-api`.
        input_signature: The inputs of a subclassed model, as for `keras.Model.export`.

    Returns:
        An `Exported`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, is stateful, or has unknown inputs. If
            `streaming=True` and the model has no single steps. If an endpoint differs from the
            model. If `path` is named like a file.

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
        build.write(folder, build.endpoints)
        write_warmup(folder, pathlib.Path(path).name, build.endpoints, warmup)
    return Exported(
        {name: list(endpoint.inputs) for name, endpoint in build.endpoints.items()}, build.left_out
    )


def check_folder(path: FilePath) -> None:
    """Raises if the path of a SavedModel has the ending of a file."""
    if _FILES.fullmatch(pathlib.Path(path).suffix.lower()):
        raise ValueError(
            "A SavedModel is a folder, and `path` is named like a file. Received: "
            f"path={str(path)!r}. Name a folder, write a '.keras' file with `model.save`, or write "
            "'.onnx' or '.tflite' with `export_file` (`--format` on the command line)."
        )
