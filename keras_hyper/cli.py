"""`keras-hyper`: for people who deploy models that others trained."""

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence

import keras
import numpy as np

import keras_hyper
from keras_hyper.export.formats import FORMATS, export_file
from keras_hyper.export.saved_model import check_folder
from keras_hyper.saving import save_model
from keras_hyper.typing import Condition
from keras_hyper.utils.files import check_ending

Run = Callable[[argparse.Namespace], None]


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

    def command(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        help_text = "a saved model"
        added.add_argument("model", type=pathlib.Path, metavar="model.keras", help=help_text)
        return added

    command("summary", _summary, "what a model stores, and what it generates")
    bake = command("bake", _bake, "write the ordinary Keras model with equal outputs")
    bake.add_argument("plain", type=pathlib.Path, metavar="plain.keras", help="where to")
    bake.add_argument(
        "--condition",
        type=_condition,
        action="append",
        metavar="C",
        help="for a Hypernetwork: a task id, or numbers with commas between them; "
        "again for each further part of the condition. --condition=-1,2 if it begins with a minus",
    )
    export = command("export", _export, "write a SavedModel, or a file for other runtimes")
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
    for flag, text in (
        ("--no-fold", "generate static weights at every call"),
        ("--no-xla", "leave out the compiled endpoint"),
        ("--streaming", "fail if the model has no single steps"),
    ):
        export.add_argument(flag, action="store_true", help=text)
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
    if given is not None and not hyper:
        raise ValueError(
            f"'{arguments.model}' is a {type(model).__name__}, and --condition is for a "
            "Hypernetwork."
        )
    plain = keras_hyper.bake(model) if given is None else model.bake(_values(model, given))
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
    # Of a mask, 0 is False.
    values = [x != 0 if spec.dtype == "bool" else x for x, spec in zip(values, specs, strict=True)]
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
