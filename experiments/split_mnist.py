"""Split MNIST: five tasks one after the other, by a hypernetwork that keeps what it learned.

`python -m experiments.split_mnist --data DIRECTORY --out results.json`. Each task is to tell
two digits apart; its id is given. The setting is the default one of hypnettorch's example
(von Oswald et al., "Continual learning with hypernetworks", ICLR 2020): a perceptron
784-100-100-2, made in chunks from no more parameters than hypnettorch has, 1001 updates for
each task. Every finished run is written to the file at once; the same command goes on from
there.
"""

import argparse
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments.data import mnist
from experiments.sweeps import load, save, spread

TASKS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]


def main() -> int:
    """Runs what the command line asks for."""
    parser = command_line("split_mnist", rate=1e-3)
    parser.add_argument("--jit", action=argparse.BooleanOptionalAction, default=False)
    return run_all(parser.parse_args(), ("updates", "batch", "rate", "jit"), run)


def command_line(name: str, rate: float) -> argparse.ArgumentParser:
    """Returns what the command lines of ours and of the peer have in common."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}")
    parser.add_argument("--data", type=pathlib.Path, help="directory of MNIST; else TFDS")
    parser.add_argument("--strengths", nargs="+", type=float, default=[0.01, 0.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=1001, help="of each task")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(f"{name}.json"))
    return parser


def run_all(arguments: Any, names: Sequence[str], run: Callable[..., None]) -> int:
    """Makes every run that the report does not have, and prints the table.

    Args:
        arguments: The command line.
        names: Those of the arguments that a report is of.
        run: Makes one run.
    """
    report = load(arguments.out, {name: getattr(arguments, name) for name in names})
    data = mnist.load(arguments.data)
    for strength in arguments.strengths:
        for seed in range(arguments.seeds):
            run(report, arguments, data, strength, seed)
    print("\n".join(table(report)))
    return 0


def build(strength: float) -> Any:
    """Returns the hypernetwork: chunks of 750 weights, as in hypnettorch's example."""
    import keras

    from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding

    target = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(100, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    return Hypernetwork(
        target,
        generator=ChunkedGenerator(750, hidden_units=(100, 100), embedding_dim=8),
        condition=TaskEmbedding(len(TASKS), 8),
        output_regularization=strength,
    )


def run(report: dict[str, Any], arguments: Any, data: Any, strength: float, seed: int) -> None:
    """Trains all tasks one after the other and tests them, unless the report has it."""
    key = {"strength": strength, "seed": seed}
    if any(key.items() <= r.items() for r in report["runs"]):
        return
    import keras

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    train, test = data
    hyper = build(strength)
    learned, start = [], time.perf_counter()
    for task in range(len(TASKS)):
        x, y = digits(train, task)
        chosen = batches(rng, len(x), arguments.updates, arguments.batch)
        model = compiled(hyper, task, arguments)
        model.fit(x[chosen], y[chosen], batch_size=arguments.batch, shuffle=False, verbose=0)
        hyper.end_task(task)
        learned.append(accuracy(model, test, task))
    seconds = time.perf_counter() - start
    final = [accuracy(compiled(hyper, t, arguments), test, t) for t in range(len(TASKS))]
    result = {
        **key,
        "parameters": sum(int(np.prod(v.shape)) for v in hyper.trainable_variables),
        "generated": sum(int(np.prod(slot.weight_shape)) for slot in hyper.slots),
        "learned": learned,
        "final": final,
        "mean": statistics.mean(final),
        "seconds": round(seconds, 1),
    }
    report["runs"].append(result)
    save(arguments.out, report)
    print(result, flush=True)


def digits(part: Any, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of a task, laid flat, and 0 or 1 for each."""
    images, labels = part
    chosen = np.isin(labels, TASKS[task])
    flat = images[chosen].reshape(chosen.sum(), -1)
    return flat, (labels[chosen] == TASKS[task][1]).astype("int32")


def batches(rng: np.random.Generator, size: int, updates: int, batch: int) -> np.ndarray:
    """Returns the indices of all batches, in passes over the data, each in a new order."""
    passes = -(-updates * batch // size)
    return np.concatenate([rng.permutation(size) for _ in range(passes)])[: updates * batch]


def compiled(hyper: Any, task: int, arguments: Any) -> Any:
    """Returns the model of a task, with an optimizer of its own."""
    import keras

    model = hyper.at(task)
    model.compile(
        keras.optimizers.Adam(arguments.rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=arguments.jit,
    )
    return model


def accuracy(model: Any, part: Any, task: int) -> float:
    """Returns the percentage of images that a model tells right."""
    x, y = digits(part, task)
    return 100 * float(
        model.evaluate(x, y, batch_size=1000, verbose=0, return_dict=True)["accuracy"]
    )


def table(report: dict[str, Any]) -> list[str]:
    """Returns the results in Markdown."""
    lines = [
        "| strength of the regulariser | parameters | generates | seeds "
        "| accuracy at the end, mean of 5 tasks | when each was learned | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for strength in dict.fromkeys(r["strength"] for r in report["runs"]):
        runs = [r for r in report["runs"] if r["strength"] == strength]
        cells = [
            strength or "0 (off)",
            f"{runs[0]['parameters']:,}",
            f"{runs[0]['generated']:,}",
            len(runs),
            spread([r["mean"] for r in runs], 2),
            spread([statistics.mean(r["learned"]) for r in runs], 2),
            spread([r["seconds"] for r in runs], 0),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
