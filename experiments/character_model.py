"""Character models of a text: LSTMs and HyperLSTMs of equal size, trained equally long.

`python -m experiments.character_model --out results.json` trains every model at every
learning rate with the first seed, chooses for each model the rate that is best on the
validation text, trains it there with the other seeds, and tests. Every finished run is
written to the file at once; the same command goes on from there.
"""

import argparse
import bisect
import pathlib
import statistics
import sys
import time
from typing import Any

import numpy as np

from experiments.sweeps import load, save, spread

HYPER = {"hyper_units": 32, "embedding_dim": 4}
MODELS: dict[str, dict[str, Any]] = {
    "LSTM": {},
    "LN-LSTM": {"layer_norm": True},
    "HyperLSTM": {"hyper": True, **HYPER},
    "LN-HyperLSTM": {"hyper": True, "layer_norm": True, **HYPER},
}
for dim in (4, 16):
    for start in ("paper", "distinct"):
        MODELS[f"LN-HyperLSTM, N_z {dim}, {start}"] = {
            "hyper": True,
            "layer_norm": True,
            "hyper_units": 32,
            "embedding_dim": dim,
            "initialization": start,
        }


def main() -> int:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m experiments.character_model")
    parser.add_argument("--text", type=pathlib.Path, help="a text file; else Python's own manual")
    parser.add_argument("--models", nargs="+", default=list(MODELS)[:4], choices=MODELS)
    parser.add_argument("--parameters", type=int, default=100_000, help="of each model")
    parser.add_argument("--rates", nargs="+", type=float, default=[0.001, 0.003, 0.01])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=100, help="characters of one sequence")
    parser.add_argument("--jit", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("character_model.json"))
    arguments = parser.parse_args()
    text = Text(read(arguments.text), arguments.length)

    setting = {
        name: value for name, value in vars(arguments).items() if name not in ("out", "models")
    }
    setting = {**setting, "text": arguments.text.name if arguments.text else "pydoc_data.topics"}
    report = load(arguments.out, setting)
    for name in arguments.models:
        for rate in arguments.rates:
            run(report, arguments, text, name, rate, seed=0)
        best = min(
            (r for r in report["runs"] if r["model"] == name and r["seed"] == 0),
            key=lambda r: r["validation"],
        )
        for seed in range(1, arguments.seeds):
            run(report, arguments, text, name, best["rate"], seed)
    print("\n".join(table(report)))
    return 0


class Text:
    """A text as numbers, in three parts: 90% to train, 5% to validate, 5% to test."""

    def __init__(self, text: str, length: int) -> None:
        self.characters = sorted(set(text))
        index = {character: n for n, character in enumerate(self.characters)}
        numbers = np.array([index[character] for character in text], "int32")
        ends = [int(0.9 * len(numbers)), int(0.95 * len(numbers))]
        self.train, self.validation, self.test = np.split(numbers, ends)
        self.length = length

    def samples(self, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns sequences from random places, and what follows each character."""
        rng = np.random.default_rng(seed)
        starts = rng.integers(len(self.train) - self.length, size=(number, 1))
        windows = self.train[starts + np.arange(self.length + 1)]
        return windows[:, :-1], windows[:, 1:]

    def in_order(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns one part as sequences one after the other."""
        number = (len(part) - 1) // self.length
        shape = (number, self.length)
        end = number * self.length
        return part[:end].reshape(shape), part[1 : end + 1].reshape(shape)


def read(path: pathlib.Path | None) -> str:
    """Returns a text: that of a file, or the manual that comes with Python."""
    if path is not None:
        return path.read_text(encoding="utf-8")
    from pydoc_data import topics

    return "".join(topics.topics.values())


def build(characters: int, units: int, setting: dict[str, Any]) -> Any:
    """Returns a character model: one-hot characters, a recurrent layer, a dense one."""
    import keras

    from keras_hyper import HyperLSTM, LayerNormLSTM

    setting = dict(setting)
    if setting.pop("hyper", False):
        layer = HyperLSTM(units, **setting, return_sequences=True)
    elif setting:
        layer = LayerNormLSTM(units, **setting, return_sequences=True)
    else:
        layer = keras.layers.LSTM(units, return_sequences=True)
    one_hot = keras.layers.Embedding(
        characters, characters, embeddings_initializer="identity", trainable=False
    )
    dense = keras.layers.Dense(characters)
    return keras.Sequential([keras.Input((None,), dtype="int32"), one_hot, layer, dense])


def parameters(characters: int, units: int, setting: dict[str, Any]) -> int:
    """Returns how many numbers of a model are trained."""
    import keras

    with keras.StatelessScope(initialize_variables=False):
        return trained(build(characters, units, setting))


def trained(model: Any) -> int:
    """Returns the same of a model that is built."""
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def units_for(number: int, characters: int, setting: dict[str, Any]) -> int:
    """Returns the width at which a model has that many parameters, or just fewer."""
    # No wider than need be: Keras initialises what was built here in the end.
    most = 1
    while parameters(characters, most, setting) <= number:
        most *= 2
    # `parameters` grows with the width.
    units = bisect.bisect_right(
        range(1, most), number, key=lambda units: parameters(characters, units, setting)
    )
    if not units:
        least = parameters(characters, 1, setting)
        raise SystemExit(f"--parameters {number} is too few: {setting} has {least} or more.")
    return units


def run(
    report: dict[str, Any], arguments: Any, text: Text, name: str, rate: float, seed: int
) -> None:
    """Trains and tests one model, unless the report has it."""
    key = {"model": name, "rate": rate, "seed": seed}
    if any(key.items() <= r.items() for r in report["runs"]):
        return
    import keras

    keras.utils.set_random_seed(seed)
    units = units_for(arguments.parameters, len(text.characters), MODELS[name])
    model = build(len(text.characters), units, MODELS[name])
    model.compile(
        keras.optimizers.Adam(rate, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=arguments.jit,
    )
    x, y = text.samples(arguments.updates * arguments.batch, seed)
    start = time.perf_counter()
    history = model.fit(x, y, batch_size=arguments.batch, shuffle=False, verbose=0).history
    seconds = time.perf_counter() - start
    result = {
        **key,
        "units": units,
        "parameters": trained(model),
        "training": float(history["loss"][0] / np.log(2)),
        "validation": bits(model, text.in_order(text.validation)),
        "test": bits(model, text.in_order(text.test)),
        "seconds": round(seconds),
        **ranks(model, text),
    }
    report["runs"].append(result)
    save(arguments.out, report)
    print(result, flush=True)


def bits(model: Any, sequences: Any) -> float:
    """Returns the bits that a model needs for each character."""
    x, y = sequences
    return float(model.evaluate(x, y, batch_size=64, verbose=0) / np.log(2))


def ranks(model: Any, text: Text) -> dict[str, Any]:
    """Returns the effective rank of the scales of `W_h`, on average over the gates.

    Of the singular values of what a gate's scales do around their mean, exp of the
    entropy (Roy & Vetterli, 2007).
    """
    import keras

    from keras_hyper import HyperLSTM, record_weights

    layer = model.layers[1]
    if not isinstance(layer, HyperLSTM):
        return {}
    x, _ = text.in_order(text.validation)
    scales = record_weights(layer, model.layers[0](x[:20])).scales["recurrent_kernel"]
    scales = keras.ops.convert_to_numpy(scales).astype("float64").reshape(-1, 4, layer.units)
    found = []
    for gate in range(4):
        values = np.linalg.svd(scales[:, gate] - scales[:, gate].mean(axis=0), compute_uv=False)
        share = values[values > 0] / values.sum()
        found.append(float(np.exp(-np.sum(share * np.log(share)))))
    return {"effective_rank": statistics.mean(found)}


def table(report: dict[str, Any]) -> list[str]:
    """Returns the results in Markdown: of each model at its best rate, over the seeds."""
    lines = [
        "| model | units | parameters | learning rate | seeds | bits per character, test "
        "| validation | effective rank |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["model"] for r in report["runs"]):
        runs = [r for r in report["runs"] if r["model"] == name]
        best = min((r for r in runs if r["seed"] == 0), key=lambda r: r["validation"])
        runs = [r for r in runs if r["rate"] == best["rate"]]
        cells = [name, best["units"], f"{best['parameters']:,}", best["rate"], len(runs)]
        cells += [spread([r[part] for r in runs], 3) for part in ("test", "validation")]
        found = [r["effective_rank"] for r in runs if "effective_rank" in r]
        cells.append(spread(found, 2) if found else "")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
