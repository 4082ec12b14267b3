"""Character models: LSTM and HyperLSTM, with and without layer normalisation, one or more layers.

What `experiments.ptb_char`, `experiments.enwik8` and `experiments.text` have in common: Ha, Dai &
Le, "HyperNetworks", sections 4.3 and 4.4. Characters are one-hot; figures are bits per character.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from experiments.config import option, parse
from experiments.data.characters import Text, bundled
from experiments.recurrent import RecurrentConfig, Stack, fitted, optimizer, start_of
from experiments.training import Task, run
from keras_hyper import HyperLSTM, record_weights
from keras_hyper.ops import as_array

# Presets that try a program out have these, and read the manual that comes with Python.
SMOKE = {
    "steps": 6,
    "evaluate_every": 2,
    "units": 16,
    "hyper_units": 8,
    "batch_size": 8,
    "length": 10,
    "validation_characters": 2000,
}
STREAMS = 64  # How many places of a text are read at once when a model is tested.
PIECE = 200  # And how many characters of each.


@dataclasses.dataclass(frozen=True)
class CharacterConfig(RecurrentConfig):
    """What is special about them."""

    dropout: float = option(0.1, "of inputs and outputs")
    length: int = option(100, "characters of one sequence in training")
    validation_characters: int = option(0, "to choose on, 0 for all that there are")


def train(
    name: str,
    description: str,
    presets: Mapping[str, Mapping[str, Any]],
    load: Callable[[pathlib.Path | None], Text],
    arguments: Sequence[str] | None,
) -> dict[str, Any]:
    """Runs what a command line asks for.

    Args:
        name: Name of the experiment.
        description: What it does.
        presets: The values that each preset changes.
        load: Returns the text, from a directory.
        arguments: The command line, None for that of the process.
    """
    prog = f"python -m experiments.{name}"
    config = parse(CharacterConfig, presets, prog, description, arguments)

    def text() -> Text:
        if config.preset == "smoke" and config.data_dir is None:
            return bundled()
        return load(config.data_dir)

    return run(name, config, lambda config: task(config, text()))


def build(config: CharacterConfig, symbols: int) -> tuple[keras.Model, keras.Model]:
    """Returns a model for training, and one of the same layers that goes on from given states."""
    one_hot = layers.Embedding(
        symbols, symbols, embeddings_initializer="identity", trainable=False, name="one_hot"
    )
    stack = Stack(config, config.dropout, config.dropout)
    head = layers.Dense(symbols, dtype="float32", name="head")
    ids = keras.Input((None,), dtype="int32", name="ids")
    model = keras.Model(ids, head(stack(one_hot(ids))[0]))
    before = stack.state_inputs()
    outputs, after = stack(one_hot(ids), before)
    return model, keras.Model([ids, *before], [head(outputs), *after])


def task(config: CharacterConfig, text: Text) -> Task:
    """Returns what is trained."""
    config = fitted(config, lambda config: build(config, text.symbols)[0])
    model, stream = build(config, text.symbols)
    model.compile(
        optimizer(config),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=config.jit_compile,
    )
    bits = bits_per_character(stream, config.jit_compile)
    chosen_on = text.validation[: config.validation_characters or None]

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((config.seed, step))
        starts = rng.integers(len(text.train) - config.length, size=(config.batch_size, 1))
        windows = text.train[starts + np.arange(config.length + 1)]
        return windows[:, :-1], windows[:, 1:]

    def test() -> dict[str, float]:
        found = {"bits": bits(text.test)}
        if config.model.endswith("HyperLSTM"):
            found["effective_rank"] = effective_rank(model, text.validation[:1000])
        return found

    return Task(
        model,
        batch,
        validate=lambda: {"bits": bits(chosen_on)},
        test=test,
        monitor="bits",
        about={"units": config.units, "names": list(text.names)},
    )


def bits_per_character(stream: keras.Model, jit_compile: bool) -> Callable[[np.ndarray], float]:
    """Returns a function that reads a text once, from its beginning to its end.

    The text is read at several places at once; at each of them the states go on from piece to
    piece, so that a model has seen all that came before, but for the beginnings.
    """
    targets = keras.Input((None,), dtype="int32")
    logits, *states = stream(stream.inputs)
    nats = Nats()(targets, logits)
    scorer = keras.Model([*stream.inputs, targets], [nats, *states])
    scorer.compile(jit_compile=jit_compile)

    def bits(text: np.ndarray) -> float:
        streams = min(STREAMS, len(text) - 1)
        length = (len(text) - 1) // streams
        x = text[: streams * length].reshape(streams, length)
        y = text[1 : streams * length + 1].reshape(streams, length)
        states, total = start_of(stream, streams), 0.0
        for start in range(0, length, PIECE):
            piece = slice(start, start + PIECE)
            found, *states = scorer.predict_on_batch([x[:, piece], *states, y[:, piece]])
            total += float(np.sum(found, dtype="float64"))
        return total / (streams * length) / float(np.log(2))

    return bits


def effective_rank(model: keras.Model, text: np.ndarray) -> float:
    """Returns in how many directions the scales of `W_h` vary, on average over the gates.

    Of the singular values of what the scales of a gate in the first layer do around their mean, exp
    of the entropy (Roy & Vetterli, "The effective rank", 2007).
    """
    layer = next(x for x in model.layers if isinstance(x, HyperLSTM))
    record = record_weights(layer, model.get_layer("one_hot")(text[None]))
    scales = as_array(record.scales["recurrent_kernel"])[0].astype("float64")
    found = []
    for gate in np.moveaxis(scales, 1, 0):
        values = np.linalg.svd(gate - gate.mean(axis=0), compute_uv=False)
        # Scales that never move have no direction.
        share = values[values > 0] / max(values.sum(), 1e-300)
        found.append(float(np.exp(-np.sum(share * np.log(share)))) if len(share) else 0.0)
    return float(np.mean(found))


class Nats(layers.Layer):
    """What the symbols of a sequence cost, in all."""

    def call(self, targets: Any, logits: Any) -> Any:
        """Returns one figure for each sequence."""
        each = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
        return ops.sum(each, axis=-1)
