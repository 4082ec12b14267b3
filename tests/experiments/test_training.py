"""Runs that are killed continue, and end as those that were not."""

import dataclasses

import keras
import numpy as np
import pytest

from experiments import training
from experiments.config import Config, option
from helpers import to_numpy

JAX = keras.backend.backend() == "jax"


@dataclasses.dataclass(frozen=True)
class Example(Config):
    model: str = option("a", "which one", ("a", "b"))


def tiny(seed=0):
    """Returns a task with dropout: what it does depends on weights, seeds and step."""

    def make(config):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse", jit_compile=config.jit_compile)

        def batch(step):
            rng = np.random.default_rng((config.seed, step))
            x = rng.normal(size=(8, 4)).astype("float32")
            return x, x.sum(axis=1, keepdims=True)

        def figures():
            x, y = batch(10_000)
            return {"loss": float(np.mean(np.square(model.predict_on_batch(x) - y)))}

        return training.Task(model, batch, figures, figures, monitor="loss")

    return make


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("moment", ["before best", "before checkpoint", "after checkpoint", "test"])
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path, monkeypatch, moment):
    config = Config(steps=12, evaluate_every=3, batch_size=8, jit_compile=JAX)
    whole = training.run("tiny", dataclasses.replace(config, out=tmp_path / "whole"), tiny())
    assert [line["step"] for line in whole["history"]] == [3, 6, 9, 12]
    # It learned, and not in one step.
    losses = [line["val_loss"] for line in whole["history"]]
    assert losses[-1] < losses[0]

    config = dataclasses.replace(config, out=tmp_path / "killed")
    save, count = training._save, []

    def dying(path, *arrays):
        kind, *_ = path.stem.split("-")
        count.append(kind)
        second = count.count(kind) == 2
        if second and moment == f"before {kind}":
            raise KilledError
        save(path, *arrays)
        if second and moment == f"after {kind}":
            raise KilledError

    def make(config):
        task = tiny()(config)

        def last():
            raise KilledError

        return dataclasses.replace(task, test=last) if moment == "test" else task

    with monkeypatch.context() as patch:
        patch.setattr(training, "_save", dying)
        with pytest.raises(KilledError):
            training.run("tiny", config, make)
    assert not (config.out / "result.json").exists()
    again = training.run("tiny", config, tiny())
    for one, other in zip(whole["history"], again["history"], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert again["test"] == pytest.approx(whole["test"], rel=1e-5)
    assert again["best_step"] == whole["best_step"]


def test_a_finished_run_is_read_and_another_setting_refused(tmp_path):
    config = Config(steps=3, evaluate_every=3, batch_size=8, out=tmp_path, jit_compile=JAX)
    first = training.run("tiny", config, tiny())
    assert training.run("tiny", config, None) == first
    with pytest.raises(SystemExit, match=r"another setting: seed 0 there, 1 here"):
        training.run("tiny", dataclasses.replace(config, seed=1), tiny())
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_diverges_says_so(tmp_path):
    def make(config):
        return dataclasses.replace(tiny()(config), validate=lambda: {"loss": float("nan")})

    config = Config(steps=2, evaluate_every=1, batch_size=8, out=tmp_path, jit_compile=JAX)
    with pytest.raises(SystemExit, match="loss was never a number in .* diverged"):
        training.run("tiny", config, make)


def test_runs_of_different_models_have_different_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for model in ("a", "b"):
        training.run(
            "tiny", Example(steps=1, evaluate_every=1, model=model, jit_compile=JAX), tiny()
        )
    found = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert found == ["tiny-small-a-0", "tiny-small-b-0"]


def test_the_weights_of_the_test_are_the_best_ones(tmp_path):
    figures = iter([0.5, 0.2, 0.9, 0.4])
    seen = []

    def make(config):
        task = tiny()(config)

        def validate():
            seen.append(to_numpy(task.model.trainable_variables[0]))
            return {"loss": next(figures)}

        def last():
            return {"same": float((to_numpy(task.model.trainable_variables[0]) == seen[1]).all())}

        return dataclasses.replace(task, validate=validate, test=last)

    config = Config(steps=4, evaluate_every=1, batch_size=8, out=tmp_path, jit_compile=JAX)
    result = training.run("tiny", config, make)
    assert (result["best_step"], result["validation"]) == (2, {"loss": 0.2})
    assert result["test"] == {"same": 1.0}
    assert (seen[0] != seen[1]).any()


def test_best_weights_that_no_checkpoint_knows_are_not_tested(tmp_path, monkeypatch):
    """A device need not compute twice the same: what comes after a kill may be another course."""
    config = Config(steps=2, evaluate_every=1, batch_size=8, out=tmp_path, jit_compile=JAX)
    seen = []

    def make(figures):
        def made(config):
            task = tiny()(config)

            def weights():
                return to_numpy(task.model.trainable_variables[0])

            def validate():
                seen.append(weights())
                return {"loss": figures.pop(0)}

            def last():
                return {"same": float((weights() == seen[0]).all())}

            return dataclasses.replace(task, validate=validate, test=last)

        return made

    write, count = training.Progress.write, []

    def dying(self, *args):
        count.append(self.step)
        if self.step == 2:
            raise KilledError
        write(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training.Progress, "write", dying)
        with pytest.raises(KilledError):
            training.run("tiny", config, make([0.5, 0.2]))
    assert count == [1, 2]
    result = training.run("tiny", config, make([0.9]))
    assert (result["best_step"], result["validation"]) == (1, {"loss": 0.5})
    assert result["test"] == {"same": 1.0}
    assert len(list(tmp_path.glob("best*"))) == 1
