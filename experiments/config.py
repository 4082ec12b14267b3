"""What a run is asked to do: a dataclass, presets of it, and its command line."""

import argparse
import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

C = TypeVar("C", bound="Config")


def option(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """Returns a field with an explanation for `--help`."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Config:
    """What every experiment has."""

    preset: str = option("small", "which settings to start from")
    data_dir: pathlib.Path | None = option(None, "directory of the data; else TensorFlow Datasets")
    out: pathlib.Path | None = option(None, "directory of the run; the same one goes on")
    seed: int = option(0, "of weights, batches and dropout")
    steps: int = option(1000, "updates")
    batch_size: int = option(128, "samples of an update")
    evaluate_every: int = option(500, "updates from one validation and checkpoint to the next")
    learning_rate: float = option(0.001, "of the optimizer, at first")
    precision: str = option("float32", "policy: float32, mixed_bfloat16, mixed_float16")
    jit_compile: bool = option(True, "whether XLA compiles the steps")

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise SystemExit(f"--{_dashed(name)} must be positive: {getattr(self, name)}")
        if self.steps % self.evaluate_every:
            raise SystemExit(
                f"--steps {self.steps} must be a multiple of --evaluate-every {self.evaluate_every}"
            )

    @classmethod
    def chosen(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Returns what a command line gives, with what follows from it."""
        return given

    @property
    def setting(self) -> dict[str, Any]:
        """What decides the result: all but where things are."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("data_dir", "out")}


def parse(
    config: type[C],
    presets: Mapping[str, Mapping[str, Any]],
    prog: str,
    description: str,
    arguments: Sequence[str] | None = None,
) -> C:
    """Returns what a command line asks for: defaults, a preset over them, options over that.

    Args:
        config: The dataclass.
        presets: The values that each preset changes.
        prog: The name of the program.
        description: What it does.
        arguments: The command line, None for that of the process.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # What is kept of a command has whole names.
        allow_abbrev=False,
    )
    types_of = typing.get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = _plain(types_of[field.name])
        options: dict[str, Any] = {"default": None, "help": _help(field, presets)}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = kind
            options["metavar"] = kind.__name__.upper() if kind is not pathlib.Path else "PATH"
        choices = list(presets) if field.name == "preset" else field.metadata["choices"]
        if choices:
            options["choices"] = choices
            del options["metavar"]
        parser.add_argument(f"--{_dashed(field.name)}", **options)
    given = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    given = config.chosen(given)
    preset = given.get("preset", "small")
    return config(**{"preset": preset, **presets[preset], **given})


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _plain(kind: Any) -> Any:
    """Returns the type of `kind | None`."""
    if isinstance(kind, types.UnionType):
        (kind,) = (k for k in typing.get_args(kind) if k is not types.NoneType)
    return kind


def _help(field: Any, presets: Mapping[str, Mapping[str, Any]]) -> str:
    values = {name: preset[field.name] for name, preset in presets.items() if field.name in preset}
    shown = [f"{name}: {value}" for name, value in values.items()]
    if field.default is not None:
        shown.append(str(field.default) if not shown else f"else {field.default}")
    return field.metadata["help"] + (f" ({', '.join(shown)})" if shown else "").replace("%", "%%")
