"""Split MNIST: five tasks one after the other, by a hypernetwork that keeps what it learned.

Each task is to tell two digits apart; its id is given, and the data of earlier tasks are gone. The
setting is the default one of hypnettorch's example (von Oswald, Henning, Sacramento & Grewe,
"Continual learning with hypernetworks", ICLR 2020) but for the learning rate, of which theirs is
`--learning-rate 0.0001`: a perceptron 784-100-100-2, made in chunks from no more parameters than
hypnettorch has. With `--model hypnettorch` that package does it, on the same batches.
"""

import dataclasses
import time
from typing import Any, Protocol

import keras
import numpy as np

from experiments.config import Config, option, parse
from experiments.data import mnist
from experiments.pipeline import shuffled_rows
from experiments.training import Progress, arrays_of, assign, once, trained
from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding
from keras_hyper.ops import as_array

TASKS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
MODELS = ("keras_hyper", "hypnettorch")


@dataclasses.dataclass(frozen=True)
class SplitMnistConfig(Config):
    """What is special about it."""

    model: str = option("keras_hyper", "which package learns", MODELS)
    steps: int = option(5005, "updates of all tasks together")
    evaluate_every: int = option(1001, "updates of each task")
    strength: float = option(0.01, "of the regulariser, 0 for none")
    digits: str = option("mnist", "which ones", ("mnist", "bundled"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tasks > len(TASKS):
            raise SystemExit(
                f"--steps {self.steps} are more than {len(TASKS)} tasks of --evaluate-every "
                f"{self.evaluate_every} updates."
            )

    @property
    def tasks(self) -> int:
        """How many are learned."""
        return self.steps // self.evaluate_every


PRESETS: dict[str, dict[str, Any]] = {
    # For each task another program would be compiled.
    "small": {"batch_size": 32, "jit_compile": False},
    "smoke": {
        "steps": 9,
        "evaluate_every": 3,
        "batch_size": 16,
        "jit_compile": False,
        "digits": "bundled",
    },
}


class Learner(Protocol):
    """A package that learns tasks one after the other."""

    parameters: int
    generated: int

    def learn(self, task: int, images: np.ndarray, labels: np.ndarray) -> None:
        """Learns from images, in batches of the configuration, in their order."""

    def logits(self, task: int, images: np.ndarray) -> np.ndarray:
        """Returns those of the two classes."""

    def state(self) -> list[np.ndarray]:
        """Returns all that is learned."""

    def restore(self, state: list[np.ndarray]) -> None:
        """Goes on from it."""


class Ours:
    """What is measured here: keras_hyper."""

    packages: tuple[str, ...] = ()

    def __init__(self, config: SplitMnistConfig) -> None:
        self.config = config
        target = keras.Sequential(
            [
                keras.Input((784,)),
                keras.layers.Dense(100, activation="relu"),
                keras.layers.Dense(100, activation="relu"),
                keras.layers.Dense(2),
            ]
        )
        # Chunks of 750 weights, as in hypnettorch's example.
        self.hyper = Hypernetwork(
            target,
            generator=ChunkedGenerator(750, hidden_units=(100, 100), embedding_dim=8),
            condition=TaskEmbedding(len(TASKS), 8),
            output_regularization=config.strength,
        )
        self.parameters = trained(self.hyper)
        self.generated = sum(
            int(np.prod(weight.weight_shape)) for weight in self.hyper.generated_weights.values()
        )

    def learn(self, task: int, images: np.ndarray, labels: np.ndarray) -> None:
        """Learns from images, in batches of the configuration, in their order."""
        model = self.hyper.at(task)
        model.compile(
            keras.optimizers.Adam(self.config.learning_rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=self.config.jit_compile,
        )
        model.fit(images, labels, batch_size=self.config.batch_size, shuffle=False)
        self.hyper.end_task(task)

    def logits(self, task: int, images: np.ndarray) -> np.ndarray:
        """Returns those of the two classes."""
        return as_array(self.hyper.at(task)(images))

    def state(self) -> list[np.ndarray]:
        """Returns all that is learned."""
        return arrays_of(self.hyper.variables)

    def restore(self, state: list[np.ndarray]) -> None:
        """Goes on from it."""
        assign(self.hyper.variables, state)


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for."""
    prog = "python -m experiments.split_mnist"
    config = parse(SplitMnistConfig, PRESETS, prog, str(__doc__), arguments)
    learner: Any = Ours
    if config.model == "hypnettorch":
        from experiments.split_mnist_hypnettorch import Peer

        learner = Peer
    return once("split_mnist", config, lambda config: measured(config, learner), learner.packages)


def measured(config: SplitMnistConfig, make: Any) -> dict[str, Any]:
    """Learns all tasks one after the other, or those that are left, and tests them."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    train, validation, test = mnist.divided(config.digits, config.data_dir)
    learner: Learner = make(config)
    assert config.out is not None
    progress, state = Progress.read(config.out)
    if state:
        learner.restore(state)
    updates = config.evaluate_every
    for task in range(progress.step // updates, config.tasks):
        images, labels = of_task(train, task)
        rows = shuffled_rows(0, updates * config.batch_size, len(images), config.seed)
        start = time.perf_counter()
        learner.learn(task, images[rows], labels[rows])
        progress.seconds += time.perf_counter() - start
        progress.step += updates
        line = {"step": progress.step, "learned": error(learner, test, task)}
        line["val_error"] = mean_error(learner, validation, task + 1)
        progress.history.append(line)
        progress.write(config.out, learner.state())
    return {
        "parameters": learner.parameters,
        "generated": learner.generated,
        "best_step": progress.step,
        "validation": {"error": progress.history[-1]["val_error"]},
        "test": {
            "error": mean_error(learner, test, config.tasks),
            "learned": float(np.mean([line["learned"] for line in progress.history])),
        },
        **progress.told(),
    }


def of_task(part: Any, task: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images of a task, laid flat, and 0 or 1 for each."""
    images, labels = part
    chosen = np.isin(labels, TASKS[task])
    flat = images[chosen].reshape(chosen.sum(), -1)
    return flat, (labels[chosen] == TASKS[task][1]).astype("int32")


def error(learner: Learner, part: Any, task: int) -> float:
    """Returns the percentage of a task's images that are told wrong."""
    images, labels = of_task(part, task)
    return 100 * float(np.mean(learner.logits(task, images).argmax(axis=-1) != labels))


def mean_error(learner: Learner, part: Any, tasks: int) -> float:
    """Returns the same of the first tasks, on average."""
    return float(np.mean([error(learner, part, task) for task in range(tasks)]))


if __name__ == "__main__":
    main()
