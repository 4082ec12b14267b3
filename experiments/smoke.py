"""Tries every program out: `python -m experiments.smoke`.

Runs the `smoke` preset of each, with data that the dependencies bundle or that are made, and looks
at what it left. Then one of them is killed at several moments, and must end with the result of a
run that was not.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from experiments.report import grouped, read, table

PROGRAMS = {
    "mnist_static": ("error", ("ordinary", "generated")),
    "split_mnist": ("error", ("keras_hyper",)),
    "cifar10_wrn": ("error", ("ordinary", "generated")),
    "ptb_char": ("bits", ("LSTM", "LN-HyperLSTM")),
    "enwik8": ("bits", ("HyperLSTM",)),
    "text": ("bits", ("LN-LSTM",)),
    "handwriting": ("nats", ("HyperLSTM",)),
    "translation": ("bleu", ("LN-HyperLSTM",)),
}
# Enough updates to be killed in between.
KILLED = ("ptb_char", "--preset", "smoke", "--steps", "400", "--evaluate-every", "20")


def main() -> None:
    """Runs all, and raises if something is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        for name, (figure, models) in PROGRAMS.items():
            for model in models:
                try_out(name, model, figure, place / f"{name}-{model}")
        draw(place)
        found = [table(name, rows) for name, rows in grouped(read([place])).items()]
        assert len(found) == len(PROGRAMS), found
        kill_and_go_on(place)


def command(out: pathlib.Path, name: str, *more: str) -> list[str]:
    """Returns the command line of a program."""
    return [sys.executable, "-m", f"experiments.{name}", *more, "--out", os.fspath(out)]


def try_out(name: str, model: str, figure: str, out: pathlib.Path) -> None:
    """Runs one program, and looks at its files."""
    start = time.perf_counter()
    run = command(out, name, "--preset", "smoke", "--model", model)
    subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    result = json.loads((out / "result.json").read_text())
    assert np.isfinite(result["test"][figure]), result["test"]
    assert len(result["history"]) >= 2
    assert np.isfinite([list(line.values()) for line in result["history"]]).all()
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "checkpoint.npz"} <= names, names
    # Nothing is chosen where one task comes after the other.
    best = f"best-{result.get('best_step')}.npz"
    assert name == "split_mnist" or {best, "tensorboard"} <= names, names
    print(f"{name}, {model}: {time.perf_counter() - start:.0f} s", flush=True)


def draw(place: pathlib.Path) -> None:
    """Draws what the networks make, and looks at the pictures' names."""
    runs = [
        p
        for p in sorted(place.iterdir())
        if not p.name.startswith(("cifar10", "split", "text", "translation"))
    ]
    command = [sys.executable, "-m", "experiments.figures", *map(os.fspath, runs)]
    subprocess.run([*command, "--write", os.fspath(place / "figures")], check=True)
    found = {path.stem for path in (place / "figures").glob("*.png")}
    assert found == {
        "kernels_ordinary",
        "kernels_generated",
        "changes_ptb_char_LN-HyperLSTM",
        "changes_enwik8_HyperLSTM",
        "memory_ptb_char",
        "memory_enwik8",
        "handwriting_HyperLSTM",
    }, found
    figures = json.loads((place / "figures" / "figures.json").read_text())
    assert figures["enwik8, HyperLSTM"]["moves within words"] >= 0, figures


def kill_and_go_on(place: pathlib.Path) -> None:
    """Kills a program at several moments, and compares its end with that of one that was not."""
    subprocess.run(command(place / "whole", *KILLED), check=True, stdout=subprocess.DEVNULL)
    killed = []
    # While a checkpoint is written, shortly after, and at some other moment.
    for evaluations, delay in ((1, 0.0), (4, 0.01), (9, 0.3)):
        killed.append(kill(place / "killed", evaluations, delay))
    subprocess.run(command(place / "killed", *KILLED), check=True, stdout=subprocess.DEVNULL)
    whole, again = (
        json.loads((place / n / "result.json").read_text()) for n in ("whole", "killed")
    )
    check_equal(whole, again)
    print(f"killed after {killed} updates, and the same result: {again['test']}", flush=True)


def kill(out: pathlib.Path, evaluations: int, delay: float) -> int:
    """Kills a program after some evaluations, and returns how many updates it has kept."""
    process = subprocess.Popen(command(out, *KILLED), stdout=subprocess.DEVNULL)
    while steps(out) < 20 * evaluations:
        assert process.poll() is None, "the program ended before it could be killed"
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return steps(out)


def steps(out: pathlib.Path) -> int:
    """Returns how many updates a checkpoint is of."""
    path = out / "checkpoint.npz"
    if not path.exists():
        return 0
    with np.load(path) as file:
        return json.loads(str(file[f"arr_{len(file.files) - 1}"]))["step"]


def check_equal(whole: dict[str, Any], again: dict[str, Any]) -> None:
    """Raises if two results differ by more than the last digits."""
    for one, other in zip(whole["history"], again["history"], strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-5)
    assert whole["test"].keys() == again["test"].keys()
    for name, value in whole["test"].items():
        np.testing.assert_allclose(again["test"][name], value, rtol=1e-5)


if __name__ == "__main__":
    main()
