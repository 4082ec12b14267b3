"""Training that can be killed at any moment, and goes on as if it had not been.

Everything a step depends on is either in the checkpoint (weights, optimizer, random seeds of
layers) or follows from the number of the step (its batch). A checkpoint is written after every
evaluation, to a temporary name that is then renamed.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from experiments.config import Config
from experiments.machine import about
from keras_hyper.ops import as_array
from keras_hyper.utils.files import replacing
from tooling.machine import commit

C = TypeVar("C", bound=Config)
# A batch is a dict or tuple of arrays for inputs, and one for targets.
Batch = tuple[Any, Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """What an experiment trains.

    Attributes:
        model: The model, compiled.
        batch: Makes the batch of a step, from its number alone.
        validate: Returns figures on the validation data.
        test: Returns figures on the test data. The weights are then the best of the run.
        monitor: Which figure of `validate` says what is best; less is better.
        about: What else the result should say, such as parameter counts.
    """

    model: Any
    batch: Callable[[int], Batch]
    validate: Callable[[], dict[str, float]]
    test: Callable[[], dict[str, float]]
    monitor: str
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def run(
    name: str, config: Config, make: Callable[[Any], Task], packages: Sequence[str] = ()
) -> dict[str, Any]:
    """Trains, or goes on, and returns the result; a finished run is read from its file.

    Args:
        name: Name of the experiment.
        config: What was asked for.
        make: Makes the task. Not called if the run is finished.
        packages: What else the result tells the versions of.
    """

    def measure(config: Config) -> dict[str, Any]:
        import keras

        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.precision)
        return _trained(make(config), config)

    return once(name, config, measure, packages)


def once(
    name: str, config: C, measure: Callable[[C], dict[str, Any]], packages: Sequence[str] = ()
) -> dict[str, Any]:
    """Measures what was not measured yet, and returns the result.

    Args:
        name: Name of the experiment.
        config: What was asked for.
        measure: Returns what the result says beside the setting, the command and the machine. Is
            given the configuration, with a folder. Not called if the folder has a result.
        packages: What else the result tells the versions of.
    """
    parts = [name, config.preset, getattr(config, "model", ""), str(config.seed)]
    out = config.out or pathlib.Path("runs") / "-".join(part for part in parts if part)
    out.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(config, out=out)
    _check_setting(out, name, config)
    path = out / "result.json"
    if not path.exists():
        found = {"experiment": name, "setting": config.setting, **about(packages)}
        write_json(path, found | measure(config))
    return json.loads(path.read_text())


def _trained(task: Task, config: Config) -> dict[str, Any]:
    out = config.out
    # Else its variables come with the first update, and could not be read before.
    task.model.optimizer.build(task.model.trainable_variables)
    progress, state = Progress.read(out)
    _fit(task, config, progress, state, out)
    if not progress.best_step:
        raise SystemExit(
            f"{task.monitor} was never a number in {out}: the training diverged. Try a smaller "
            "--learning-rate."
        )
    restore_best(out, task.model, progress.best_step)
    return {
        **task.about,
        "parameters": trained(task.model),
        "best_step": progress.best_step,
        "validation": {task.monitor: progress.best},
        "test": task.test(),
        **progress.told(),
    }


def trained(model: Any) -> int:
    """Returns how many numbers of a model are trained."""
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def result_of(out: pathlib.Path) -> dict[str, Any]:
    """Returns the result of a run that ended."""
    path = out / "result.json"
    if not path.exists():
        raise SystemExit(f"{out} has no run that ended: there is no {path.name}.")
    return json.loads(path.read_text())


def config_of(out: pathlib.Path, config: type[C]) -> C:
    """Returns the configuration of a run that ended."""
    return config(**{**result_of(out)["setting"], "out": out})


def restore_best(out: pathlib.Path, model: Any, step: int) -> None:
    """Puts the best weights of a run, after the given step, into a model of the same layers."""
    assign(model.variables, _arrays(_best(out, step)))


@dataclasses.dataclass
class Progress:
    """How far a run is.

    Attributes:
        step: Updates that were made.
        best: The best figure on the validation data, and `best_step` when it was.
        history: The figures of every evaluation.
        seconds: How long it trained, without evaluations.
        commits: The versions of the programs that it was made by.
    """

    step: int = 0
    best: float = float("inf")
    best_step: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    commits: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def read(cls, out: pathlib.Path) -> tuple["Progress", list[np.ndarray]]:
        """Returns that of an earlier process, and the state that was written with it."""
        path, found, arrays = out / "checkpoint.npz", cls(), []
        if path.exists():
            *arrays, progress = _arrays(path)
            found = cls(**json.loads(str(progress)))
        now = commit()
        if now and now not in found.commits:
            found.commits.append(now)
        return found, arrays

    def told(self) -> dict[str, Any]:
        """Returns what a result says of it."""
        return {
            "seconds": round(self.seconds),
            "history": self.history,
            "commit": " and ".join(self.commits) or None,
        }

    def write(self, out: pathlib.Path, state: Sequence[np.ndarray]) -> None:
        """Writes it, with weights and other state, as one file."""
        _save(out / "checkpoint.npz", *state, np.asarray(json.dumps(dataclasses.asdict(self))))


def _fit(
    task: Task, config: Config, progress: Progress, state: list[np.ndarray], out: pathlib.Path
) -> None:
    import keras

    from experiments.pipeline import batches

    class Evaluation(keras.callbacks.Callback):
        """Validates, writes a log, and makes a checkpoint, after every epoch."""

        def on_train_begin(self, logs: Any = None) -> None:
            # Not before: to build a model, Keras may draw random numbers.
            if state:
                assign(_state(task.model), state)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                # PyTorch draws dropout from a state of its own, which is in no variable.
                keras.utils.set_random_seed(config.seed + progress.step)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds = time.perf_counter() - self.start
            progress.seconds += seconds
            progress.step += config.evaluate_every
            found = {k: v for k, v in logs.items() if not k.startswith("val_")}
            found |= {f"val_{k}": float(v) for k, v in task.validate().items()}
            # Seen by the progress bar, which comes after this callback.
            logs.update(found)
            line = {"step": progress.step, **{k: float(v) for k, v in found.items()}}
            progress.history.append(line)
            if found[f"val_{task.monitor}"] < progress.best:
                progress.best = found[f"val_{task.monitor}"]
                progress.best_step = progress.step
                _save(_best(out, progress.step), *arrays_of(task.model.variables))
            progress.write(out, arrays_of(_state(task.model)))
            # Not before: a process that is killed in between goes on from the checkpoint before,
            # whose best weights must then still be there.
            for path in out.glob(_best(out, "*").name):
                if path != _best(out, progress.best_step):
                    path.unlink()
            left = progress.seconds / progress.step * (config.steps - progress.step)
            figure = f"{task.monitor} {found[f'val_{task.monitor}']:.4f}, best {progress.best:.4f}"
            print(f" {progress.step} of {config.steps} steps, {figure}, {left:.0f} s left")
            _log(out, {**line, "steps_a_second": config.evaluate_every / seconds})

    if progress.step < config.steps:
        task.model.fit(
            batches(task.batch, progress.step, config.steps),
            steps_per_epoch=config.evaluate_every,
            initial_epoch=progress.step // config.evaluate_every,
            epochs=config.steps // config.evaluate_every,
            callbacks=[Evaluation()],
            shuffle=False,
        )


def _log(out: pathlib.Path, line: dict[str, float]) -> None:
    """Adds to the events of TensorBoard."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return
    step = int(line["step"])
    with SummaryWriter(str(out / "tensorboard"), purge_step=step) as writer:
        for name, value in line.items():
            if name != "step":
                writer.add_scalar(name, value, step)


def _check_setting(out: pathlib.Path, name: str, config: Config) -> None:
    import keras

    path = out / "config.json"
    backend = keras.backend.backend()
    setting = json.loads(json.dumps({"experiment": name, "backend": backend, **config.setting}))
    if not path.exists():
        write_json(path, setting)
        return
    earlier = json.loads(path.read_text())
    names = sorted(k for k in setting.keys() | earlier.keys() if setting.get(k) != earlier.get(k))
    if names:
        shown = ", ".join(f"{k} {earlier.get(k)} there, {setting.get(k)} here" for k in names)
        raise SystemExit(f"{out} is of another setting: {shown}. Name another with --out.")


def _best(out: pathlib.Path, step: int | str) -> pathlib.Path:
    return out / f"best-{step}.npz"


def _state(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def arrays_of(variables: Any) -> list[np.ndarray]:
    """Returns the values of variables."""
    return [as_array(variable) for variable in variables]


def _save(path: pathlib.Path, *arrays: np.ndarray) -> None:
    _replace(path, lambda file: np.savez(file, *arrays))


def _arrays(path: pathlib.Path) -> list[np.ndarray]:
    with np.load(path) as file:
        return [file[f"arr_{n}"] for n in range(len(file.files))]


def assign(variables: Any, arrays: list[np.ndarray]) -> None:
    """Puts arrays into variables."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a file to a temporary name and renames it."""
    _replace(path, lambda file: file.write(json.dumps(value, indent=1).encode() + b"\n"))


def _replace(path: pathlib.Path, write: Callable[[Any], Any]) -> None:
    with replacing(path) as temporary, open(temporary, "wb") as file:
        write(file)
        # Before it is renamed: else a machine that stops may leave a name without content.
        file.flush()
        os.fsync(file.fileno())
