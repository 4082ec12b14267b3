"""Handwriting, point by point: Ha, Dai & Le, "HyperNetworks", section 4.5, A.3.5 and table 5.

A recurrent network reads the movements of a pen and says how it moves next: a mixture of 20 normal
distributions in the plane and the probability that it is lifted (Graves, "Generating sequences with
recurrent neural networks", 2013, section 4.2). Figures are nats of a whole line, less is better.
When a run ends, its network writes: `samples.svg`.
"""

import dataclasses
import math
import pathlib
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from experiments.config import option, parse
from experiments.data import strokes
from experiments.pipeline import shuffled_rows
from experiments.recurrent import RecurrentConfig, Stack, fitted, optimizer, start_of
from experiments.training import Task, run
from keras_hyper.utils.files import replacing

MIXTURES = 20


@dataclasses.dataclass(frozen=True)
class HandwritingConfig(RecurrentConfig):
    """What is special about it."""

    output_dropout: float = option(0.05, "of what the recurrent layers return")
    scaling: float = option(0.1, "lines are made larger or smaller by up to this part")
    shortest: int = option(300, "points that a line to learn from has at least")
    length: int = option(0, "points of a piece to learn from, 0 for whole lines")
    lines: str = option("iam", "which ones", ("iam", "made"))
    validation_lines: int = option(0, "to choose on, 0 for all that there are")


PAPER = {
    "steps": 60_000,
    "evaluate_every": 1000,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "clip": 5.0,
    "recurrent_dropout": 0.05,
    "units": 900,
}
SMALL = {
    **PAPER,
    "steps": 3000,
    "evaluate_every": 250,
    "units": 128,
    "hyper_units": 32,
    "length": 200,
    "learning_rate": 1e-2,
    "validation_lines": 300,
}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": PAPER,
    "small": SMALL,
    "smoke": {
        **SMALL,
        "steps": 6,
        "evaluate_every": 2,
        "units": 12,
        "hyper_units": 6,
        "batch_size": 8,
        "length": 30,
        "shortest": 60,
        "lines": "made",
    },
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for."""
    prog = "python -m experiments.handwriting"
    config = parse(HandwritingConfig, PRESETS, prog, str(__doc__), arguments)
    return run("handwriting", config, task)


def build(config: HandwritingConfig) -> tuple[keras.Model, keras.Model]:
    """Returns a model for training, and one of the same layers that goes on from given states."""
    stack = Stack(config, before=0.0, after=config.output_dropout)
    head = layers.Dense(6 * MIXTURES + 1, dtype="float32", name="head")
    points = keras.Input((None, 3), name="points")
    model = keras.Model(points, head(stack(points)[0]))
    before = stack.state_inputs()
    outputs, after = stack(points, before)
    return model, keras.Model([points, *before], [head(outputs), *after])


def nats(targets: Any, outputs: Any) -> Any:
    """Returns what each point costs, equations (18) to (26) of Graves.

    Args:
        targets: `(batch, steps, 4)`: movement, whether the pen is lifted, and a weight.
        outputs: `(batch, steps, 121)`.
    """
    targets, outputs = (ops.cast(x, "float32") for x in (targets, outputs))
    *parameters, pen = ops.split(outputs, [MIXTURES * n for n in range(1, 7)], axis=-1)
    weight, mean_x, mean_y, log_x, log_y, slope = parameters
    # Correlations of almost one would make densities without bounds.
    correlation = 0.999 * ops.tanh(slope)
    x = (targets[..., 0:1] - mean_x) * ops.exp(-log_x)
    y = (targets[..., 1:2] - mean_y) * ops.exp(-log_y)
    rest = 1 - ops.square(correlation)
    distance = (ops.square(x) + ops.square(y) - 2 * correlation * x * y) / rest
    log_density = -distance / 2 - log_x - log_y - ops.log(rest) / 2 - math.log(2 * math.pi)
    log_weight = ops.log_softmax(weight, axis=-1)
    movement = ops.logsumexp(log_weight + log_density, axis=-1)
    lifted = targets[..., 2]
    pen = pen[..., 0]
    # log sigmoid(pen) and log sigmoid(-pen).
    lifting = -lifted * ops.softplus(-pen) - (1 - lifted) * ops.softplus(pen)
    return -(movement + lifting) * targets[..., 3]


def loss(targets: Any, outputs: Any) -> Any:
    """Returns the mean over the points of each line."""
    return ops.sum(nats(targets, outputs), axis=-1) / ops.sum(targets[..., 3], axis=-1)


def task(config: HandwritingConfig) -> Task:
    """Returns what is trained."""
    made = config.lines == "made"
    train, validation, split = strokes.generated() if made else strokes.load(config.data_dir)
    train = [line for line in train if len(line) >= config.shortest]
    validation = validation[: config.validation_lines or None]
    config = fitted(config, lambda config: build(config)[0])
    model, stream = build(config)
    model.compile(optimizer(config), loss, jit_compile=config.jit_compile)
    scorer = keras.Model(model.input, model.output)
    scorer.compile(loss=loss)

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = shuffled_rows(step, config.batch_size, len(train), config.seed)
        rng = np.random.default_rng((config.seed, step))
        chosen = [train[row] for row in rows]
        if config.length:
            starts = [int(rng.integers(max(1, len(x) - config.length))) for x in chosen]
            chosen = [x[s : s + config.length + 1] for x, s in zip(chosen, starts, strict=True)]
        factors = rng.uniform(1 - config.scaling, 1 + config.scaling, (len(chosen), 1))
        chosen = [
            np.column_stack([x[:, :2] * f, x[:, 2]]) for x, f in zip(chosen, factors, strict=True)
        ]
        return padded(chosen, config.length or None)

    def figures() -> dict[str, float]:
        # Lines of about equal length together.
        lines = sorted(validation, key=len)
        total = 0.0
        for start in range(0, len(lines), 50):
            x, y = padded(lines[start : start + 50])
            told = ops.convert_to_numpy(nats(y, scorer.predict_on_batch(x)))
            total += float(told.sum(dtype="float64"))
        return {"nats": total / len(lines)}

    def test() -> dict[str, float]:
        # There is no test set: the paper, too, reports on the lines that it chose on.
        if config.out is not None:
            write_svg(config.out / "samples.svg", samples(stream, 4, 400, config.seed))
        return figures()

    return Task(
        model,
        batch,
        validate=figures,
        test=test,
        monitor="nats",
        about={"units": config.units, "split": split},
    )


def padded(lines: list[np.ndarray], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns lines as one batch, and what follows each of their points, with its weight.

    Args:
        lines: Arrays of shape `(points, 3)`.
        length: How many steps the batch has; None for the longest line, rounded up, so that
            there are few different lengths to compile for.
    """
    steps = length or -(-max(len(line) - 1 for line in lines) // 100) * 100
    x = np.zeros((len(lines), steps, 3), "float32")
    y = np.zeros((len(lines), steps, 4), "float32")
    for row, line in enumerate(lines):
        known = len(line) - 1
        x[row, :known] = line[:-1]
        y[row, :known, :3] = line[1:]
        y[row, :known, 3] = 1
    return x, y


def samples(stream: keras.Model, count: int, points: int, seed: int) -> np.ndarray:
    """Returns lines that a network writes, of shape `(count, points, 3)`."""
    rng = np.random.default_rng(seed)
    states: list[Any] = start_of(stream, count)
    point, written = np.zeros((count, 1, 3), "float32"), []
    for _ in range(points):
        outputs, *states = stream.predict_on_batch([point, *states])
        point = np.stack([drawn(row, rng) for row in outputs[:, 0]])[:, None]
        written.append(point[:, 0])
    return np.stack(written, axis=1)


def drawn(outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns one point, drawn from what a network says."""
    weight, mean_x, mean_y, log_x, log_y, slope = outputs[:-1].astype("float64").reshape(6, -1)
    chances = np.exp(weight - weight.max())
    n = rng.choice(MIXTURES, p=chances / chances.sum())
    correlation = 0.999 * np.tanh(slope[n])
    first, second = rng.normal(size=2)
    second = correlation * first + math.sqrt(1 - correlation**2) * second
    lifted = rng.random() < 1 / (1 + math.exp(-float(outputs[-1])))
    moved = (mean_x[n] + np.exp(log_x[n]) * first, mean_y[n] + np.exp(log_y[n]) * second)
    return np.array([*moved, lifted], "float32")


def write_svg(path: pathlib.Path, lines: np.ndarray) -> None:
    """Writes lines as a picture, one below the other."""
    paths, top = [], 0.0
    width = 0.0
    for line in lines:
        places = np.cumsum(line[:, :2], axis=0)
        places -= places.min(axis=0)
        width = max(width, float(places[:, 0].max()))
        pen_up, parts = True, []
        for (x, y), lifted in zip(places, line[:, 2], strict=True):
            parts.append(f"{'M' if pen_up else 'L'}{x:.1f} {y + top:.1f}")
            pen_up = bool(lifted)
        paths.append(f'<path d="{" ".join(parts)}"/>')
        top += float(places[:, 1].max()) + 4
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 {width + 4:.1f} {top:.1f}">\n'
        '<g fill="none" stroke="black" stroke-width="0.3">\n'
        + "\n".join(paths)
        + "\n</g>\n</svg>\n"
    )
    with replacing(path) as temporary:
        temporary.write_text(picture)


if __name__ == "__main__":
    main()
