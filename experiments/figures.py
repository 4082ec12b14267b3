"""The paper's qualitative figures, from runs that ended.

`python -m experiments.figures RUN ... --write FOLDER` looks at each run and draws, after Ha, Dai &
Le, "HyperNetworks":

- of `mnist_static`, the second kernel, generated and ordinary (figure 2);
- of `ptb_char` and `enwik8`, how far the weights of each gate move at each character of a sentence
  (figure 4);
- of these, how often the memory is full while the networks write (figure 5), and how far the
  weights move meanwhile within words and between them;
- of `handwriting`, lines that a network writes, and how far its weights move at each point, within
  strokes and between them (figure 7).

The figures behind the pictures are in `figures.json`.
"""

import argparse
import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from experiments import characters, handwriting, mnist_static
from experiments.recurrent import start_of
from experiments.training import config_of, restore_best, result_of, write_json
from keras_hyper import record_weights, visualize
from keras_hyper.utils.files import replacing

SENTENCE = "the weights of a network move from word to word (and at brackets), less within"
FULL = 0.9  # Of |tanh c|.


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", type=pathlib.Path, metavar="RUN")
    parser.add_argument("--write", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--sentence", default=SENTENCE)
    parser.add_argument("--written", type=int, default=1000, help="characters that are written")
    arguments = parser.parse_args()
    import matplotlib

    matplotlib.use("agg")
    arguments.write.mkdir(parents=True, exist_ok=True)
    kinds: dict[str, list[pathlib.Path]] = {}
    seen: dict[tuple[str, str], pathlib.Path] = {}
    for run in arguments.runs:
        result = result_of(run)
        kinds.setdefault(result["experiment"], []).append(run)
        kind = result["experiment"], result["setting"]["model"]
        if kind in seen:
            raise SystemExit(f"{seen[kind]} and {run} are both of {', '.join(kind)}: draw one.")
        seen[kind] = run
    found = kernels(kinds.pop("mnist_static", []), arguments.write)
    for name in ("ptb_char", "enwik8"):
        found |= texts(name, kinds.pop(name, []), arguments)
    found |= strokes(kinds.pop("handwriting", []), arguments.write)
    path = arguments.write / "figures.json"
    # Those of runs that were drawn before stay.
    earlier = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, earlier | found)
    if kinds:
        raise SystemExit(f"There is nothing to draw of {', '.join(kinds)}.")


def kernels(runs: Sequence[pathlib.Path], folder: pathlib.Path) -> dict[str, Any]:
    """Draws the second kernel of each network."""
    found = {}
    for run in runs:
        config = config_of(run, mnist_static.MnistConfig)
        model = mnist_static.build(config)
        restore_best(run, model, result_of(run)["best_step"])
        layer = model.get_layer("second")
        weight = layer.kernel if config.model == "ordinary" else layer.generate()["kernel"]
        axes = visualize.kernels(weight, most=256)
        deviation = float(np.std(keras.ops.convert_to_numpy(weight)))
        axes.set_title(f"{config.model}, standard deviation {deviation:.3f}")
        found[f"mnist_static, {config.model}"] = {"standard deviation": round(deviation, 3)}
        save(axes, folder / f"kernels_{config.model}.png")
    return found


def texts(name: str, runs: Sequence[pathlib.Path], arguments: Any) -> dict[str, Any]:
    """Draws what the weights of character models do along a sentence, and their memory."""
    found, records = {}, {}
    for run in runs:
        config, names = fitted_of(run, characters.CharacterConfig), result_of(run)["names"]
        model, stream = characters.build(config, len(names))
        restore_best(run, model, result_of(run)["best_step"])
        one_hot = model.get_layer("one_hot")
        layer = next(x for x in model.layers if hasattr(x, "cell"))
        ids = written(stream, arguments.written, config.seed)
        record = records[config.model] = record_weights(layer, one_hot(ids))
        found[f"{name}, {config.model}"] = {f"|tanh c| > {FULL}": f"{full(record):.1%}"}
        if not config.model.endswith("HyperLSTM"):
            continue
        found[f"{name}, {config.model}"] |= moves(
            record, in_words([names[n] for n in ids[0]]), "words"
        )
        sentence = known(arguments.sentence, names)
        ids = np.array([[names.index(c) for c in sentence]], "int32")
        record = record_weights(layer, one_hot(ids))
        shown = "".join(" " if c == "_" else c for c in sentence)
        axes = visualize.weight_changes(record, shown)
        axes.set_title(f"{config.model}: how far the recurrent weights of each gate move")
        save(axes, arguments.write / f"changes_{name}_{config.model}.png")
    if records:
        axes = visualize.saturation(records)
        axes.set_title("while the networks write")
        save(axes, arguments.write / f"memory_{name}.png")
    return found


def strokes(runs: Sequence[pathlib.Path], folder: pathlib.Path) -> dict[str, Any]:
    """Draws a line that each network writes, coloured by how far its weights move."""
    import matplotlib.pyplot as plt
    from matplotlib.collections import LineCollection

    found = {}
    for run in runs:
        config = fitted_of(run, handwriting.HandwritingConfig)
        model, stream = handwriting.build(config)
        restore_best(run, model, result_of(run)["best_step"])
        line = handwriting.samples(stream, 1, 500, config.seed)[0]
        places = np.cumsum(line[:, :2], axis=0) * [1, -1]
        layer = next(x for x in model.layers if hasattr(x, "cell"))
        colour, label = np.zeros(len(line)), ""
        if config.model.endswith("HyperLSTM"):
            record = record_weights(layer, keras.ops.convert_to_tensor(line[None]))
            colour, label = changes_of(record), "move of the recurrent weights"
            on_paper = np.r_[True, line[:-1, 2] <= 0.5]
            found[f"handwriting, {config.model}"] = moves(record, on_paper, "strokes")
        down = line[:-1, 2] < 0.5
        parts = np.stack([places[:-1], places[1:]], axis=1)[down]
        figure, axes = plt.subplots(figsize=(9, 2.5), layout="constrained")
        lines = LineCollection(parts, array=colour[1:][down], cmap="viridis", linewidths=1.5)
        axes.add_collection(lines)
        axes.autoscale()
        axes.set_aspect("equal")
        axes.set_axis_off()
        axes.set_title(f"{config.model}, 500 points")
        if label:
            figure.colorbar(lines, label=label)
        save(axes, folder / f"handwriting_{config.model}.png")
    return found


def fitted_of(run: pathlib.Path, config: Any) -> Any:
    """Returns the configuration of a run, with the units that it had."""
    return dataclasses.replace(config_of(run, config), units=result_of(run)["units"])


def written(stream: keras.Model, count: int, seed: int) -> np.ndarray:
    """Returns what a character model writes, of shape `(1, count)`."""
    rng = np.random.default_rng(seed)
    states: list[Any] = start_of(stream, 1)
    ids = [0]
    for _ in range(count):
        logits, *states = stream.predict_on_batch([np.array([[ids[-1]]], "int32"), *states])
        chances = np.exp(logits[0, 0].astype("float64") - logits.max())
        ids.append(int(rng.choice(len(chances), p=chances / chances.sum())))
    return np.array([ids[1:]], "int32")


def full(record: Any) -> float:
    """Returns how often the memory is full."""
    values = keras.ops.convert_to_numpy(record.saturation)
    return float((np.abs(values) > FULL).mean())


def known(sentence: str, names: Sequence[str]) -> str:
    """Returns a sentence in the symbols of a text: Penn Treebank has `_` for a space."""
    if " " not in names:
        sentence = sentence.replace(" ", "_")
    return "".join(c for c in sentence if c in names)


def in_words(text: Sequence[str]) -> np.ndarray:
    """Returns which characters are within words: letters, but for the first one of a word."""
    letters = np.array([c.isalpha() for c in text])
    return letters & np.r_[False, letters[:-1]]


def moves(record: Any, within: np.ndarray, what: str) -> dict[str, float]:
    """Returns how far the weights move at steps within something, and at all others."""
    # Before the first step there are no weights to move from.
    changes, within = changes_of(record)[1:], within[1:]
    return {
        f"moves within {what}": round(float(changes[within].mean()), 2),
        f"moves between {what}": round(float(changes[~within].mean()), 2),
    }


def changes_of(record: Any) -> np.ndarray:
    """Returns how far the recurrent weights move at each step, on average over the gates."""
    return keras.ops.convert_to_numpy(record.changes["recurrent_kernel"])[0].mean(axis=-1)


def save(axes: Any, path: pathlib.Path) -> None:
    """Writes a picture."""
    with replacing(path) as temporary:
        axes.figure.savefig(temporary, dpi=120)
    axes.figure.clf()


if __name__ == "__main__":
    main()
