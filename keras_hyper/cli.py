"""Summarizes, bakes and exports saved models."""

import argparse
import functools
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
    """Runs the command line.

    Args:
        arguments: The arguments of the program. Defaults to those of the process.

    Returns:
        The exit code: 0, or 1 if the command fails. Wrong usage exits with 2, as in `argparse`.
    """
    parser = argparse.ArgumentParser(prog="keras-hyper", description=__doc__)
    version = f"keras-hyper {keras_hyper.__version__}"
    parser.add_argument("--version", action="version", version=version)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Run, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(run=run)
        added.add_argument("model", type=pathlib.Path, metavar="model.keras", help="saved model")
        return added

    command("summary", _summary, "show which weights a model stores and generates")
    bake = command("bake", _bake, "write an ordinary Keras model with equal outputs")
    bake.add_argument("plain", type=pathlib.Path, metavar="plain.keras", help="file to write")
    bake.add_argument(
        "--condition",
        type=_condition,
        action="append",
        metavar="C",
        help="condition of a Hypernetwork: a task id, or numbers separated by commas; once for "
        "each part of the condition. Write --condition=-1,2 if the first number is negative",
    )
    export = command("export", _export, "write a SavedModel, or a file for other runtimes")
    export.add_argument("path", type=pathlib.Path, metavar="PATH", help="file or folder to write")
    export.add_argument(
        "--format",
        choices=["saved_model", *FORMATS],
        default="saved_model",
        help="PATH is a folder for saved_model and openvino, and otherwise a .onnx or .tflite file",
    )
    text = "which endpoint to convert (formats other than SavedModel)"
    export.add_argument("--endpoint", default="serving_default", help=text)
    text = "the only batch size (formats other than SavedModel)"
    export.add_argument("--batch-size", type=int, help=text)
    flag = functools.partial(export.add_argument, action="store_true")
    flag("--no-fold", help="generate static weights at every call")
    flag("--no-xla", help="leave out the compiled endpoint")
    flag("--streaming", help="fail if the model has no single steps")
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except Exception as error:
        known = isinstance(error, ImportError | OSError | TypeError | ValueError)
        message = str(error) if known else f"{type(error).__name__}: {error}"
        sys.stderr.write(f"keras-hyper: {message}\n")
        return 1
    return 0


def _condition(text: str) -> int | list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number, or numbers separated by commas: {text!r}"
        ) from None
    return int(text) if text.strip().lstrip("-").isdecimal() else numbers


def _load(path: pathlib.Path) -> keras.Model:
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder. Name a file written by `model.save`.")
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
            f"--condition is for a Hypernetwork. '{arguments.model}' is a {type(model).__name__}."
        )
    plain = keras_hyper.bake(model) if given is None else model.bake(_values(model, given))
    save_model(plain, arguments.plain)
    sys.stdout.write(f"{arguments.plain}: {plain.count_params():,} parameters\n")


def _values(model: keras_hyper.Hypernetwork, given: list[int | list[float]]) -> Condition:
    """Converts the options `--condition` to arrays, one for each part of the condition."""
    specs = [] if model.condition is None else model.condition.value_specs()
    if len(given) != len(specs):
        raise ValueError(
            f"--condition must be given once for each part of the condition of '{model.name}'. "
            f"Parts: {len(specs)}. Received: {len(given)}."
        )
    values = []
    for numbers, spec in zip(given, specs, strict=True):
        # One number is an id, or a vector of one.
        value = np.asarray(numbers) if len(spec.shape) == 1 else np.atleast_1d(numbers)
        if spec.dtype == "bool":
            value = value != 0
        elif value.dtype.kind != "i":  # Not an id: the model raises if it needs one.
            value = value.astype("float32")
        values.append(value)
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
