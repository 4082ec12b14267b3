"""`keras-hyper`: for people who deploy models that others trained."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import keras
import numpy as np

import keras_hyper
from keras_hyper.export.formats import FORMATS, export_file
from keras_hyper.export.saved_model import check_folder
from keras_hyper.saving import save_model
from keras_hyper.typing import Condition
from keras_hyper.utils.files import check_ending


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line, and returns its exit code.

    Args:
        arguments: What follows the name of the program. Defaults to that of the process.

    Returns:
        0, or 1 if the file cannot be read, or the model is not one that can be
        treated so. Wrong usage exits with 2, as `argparse` does.
    """
    parser = argparse.ArgumentParser(prog="keras-hyper", description=__doc__)
    version = f"keras-hyper {keras_hyper.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    summary = commands.add_parser("summary", help="what a model stores, and what it generates")
    summary.set_defaults(run=_summary)
    _add_model(summary)

    bake = commands.add_parser("bake", help="write the ordinary Keras model with equal outputs")
    bake.set_defaults(run=_bake)
    _add_model(bake)
    bake.add_argument("plain", type=pathlib.Path, metavar="plain.keras", help="where to")
    bake.add_argument(
        "--condition",
        type=_condition,
        action="append",
        metavar="C",
        help="for a Hypernetwork: a task id, or numbers with commas between them; "
        "again for each further part of the condition. --condition=-1,2 if it begins with a minus",
    )

    export = commands.add_parser("export", help="write a SavedModel, or a file for other runtimes")
    export.set_defaults(run=_export)
    _add_model(export)
    export.add_argument("path", type=pathlib.Path, metavar="PATH", help="where to")
    export.add_argument(
        "--format",
        choices=["saved_model", *FORMATS],
        default="saved_model",
        help="of PATH: a folder for SavedModel and OpenVINO, a file .onnx or .tflite otherwise",
    )
    export.add_argument(
        "--endpoint",
        default="serving_default",
        help="which endpoint to convert (formats other than SavedModel)",
    )
    export.add_argument("--batch-size", type=int, help="for other formats, if they need one")
    export.add_argument(
        "--no-fold", action="store_true", help="generate static weights at every call"
    )
    export.add_argument("--no-xla", action="store_true", help="leave out the compiled endpoint")
    export.add_argument(
        "--streaming", action="store_true", help="fail if the model has no single steps"
    )

    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except Exception as error:
        sys.stderr.write(f"keras-hyper: {_message(error)}\n")
        return 1
    return 0


def _message(error: Exception) -> str:
    """Returns what an error says, with its type if it is not one that we raise."""
    known = isinstance(error, ImportError | OSError | TypeError | ValueError)
    return str(error) if known else f"{type(error).__name__}: {error}"


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=pathlib.Path, metavar="model.keras", help="a saved model")


def _condition(text: str) -> int | list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number, or numbers with commas between them: {text!r}"
        ) from None
    return int(text) if text.strip().lstrip("-").isdecimal() else numbers


def _load(path: pathlib.Path) -> keras.Model:
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder. Name a file that `model.save` wrote.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}'.")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"'{path}' could not be read as a Keras model ({type(error).__name__}): {error}"
        ) from error


def _summary(arguments: argparse.Namespace) -> None:
    keras_hyper.summary(_load(arguments.model))


def _bake(arguments: argparse.Namespace) -> None:
    check_ending(arguments.plain, ".keras")
    model, given = _load(arguments.model), arguments.condition
    hyper = isinstance(model, keras_hyper.Hypernetwork)
    condition = model.condition if hyper else None
    if given is None and condition is not None and condition.takes_values:
        raise ValueError(
            f"'{arguments.model}' needs a `condition`: {condition.describe()}. Pass --condition, "
            "once for each part of it."
        )
    if given is None:
        plain = keras_hyper.bake(model)
    elif hyper:
        plain = model.bake(_values(model, given))
    else:
        raise ValueError(
            f"'{arguments.model}' is a {type(model).__name__}, and --condition is for a "
            "Hypernetwork."
        )
    save_model(plain, arguments.plain)
    sys.stdout.write(f"{arguments.plain}: {plain.count_params():,} parameters\n")


def _values(model: keras_hyper.Hypernetwork, given: list[int | list[float]]) -> Condition:
    """Returns what the command line gave for each part of a condition as arrays."""
    specs = [] if model.condition is None else model.condition.value_specs()
    if len(given) != len(specs):
        raise ValueError(
            f"--condition must be given once for each part of the condition of '{model.name}'. "
            f"Parts: {len(specs)}. Received: {len(given)}."
        )
    # One number is an id, or a vector of one.
    values = [
        np.asarray(value) if len(spec.shape) == 1 else np.atleast_1d(value)
        for value, spec in zip(given, specs, strict=True)
    ]
    # Numbers with a point stay so, for an id must be none.
    values = [x if x.dtype.kind == "i" else x.astype("float32") for x in values]
    return values[0] if len(values) == 1 else values


def _export(arguments: argparse.Namespace) -> None:
    path, endpoint, fold = arguments.path, arguments.endpoint, not arguments.no_fold
    if arguments.format != "saved_model":
        if arguments.streaming or arguments.no_xla:
            raise ValueError("--streaming and --no-xla are for --format saved_model.")
        check_ending(path, FORMATS[arguments.format])
        size, model = arguments.batch_size, _load(arguments.model)
        inputs = export_file(model, path, endpoint=endpoint, batch_size=size, fold=fold)
        sys.stdout.write(f"{endpoint}: {', '.join(inputs)}\n")
        return
    if endpoint != "serving_default" or arguments.batch_size:
        raise ValueError("--endpoint and --batch-size are for other formats than saved_model.")
    check_folder(path)
    exported = keras_hyper.export_saved_model(
        _load(arguments.model),
        path,
        fold=fold,
        xla=not arguments.no_xla,
        streaming=True if arguments.streaming else None,
    )
    for name, inputs in exported.inputs.items():
        sys.stdout.write(f"{name}: {', '.join(inputs)}\n")
    for name, reason in exported.left_out.items():
        sys.stdout.write(f"no {name}: {reason}\n")
