"""Strings instead of ids: the endpoint `serve_text`."""

import keras
import numpy as np

from keras_hyper.export.interface import Specs
from keras_hyper.export.trials import Trial, Trials, words_of
from keras_hyper.typing import Shape

_KINDS = (keras.layers.StringLookup, keras.layers.TextVectorization)


def check_text(layer: keras.layers.Layer, inputs: Specs) -> None:
    """Raises if a layer does not make the ids that a model takes from strings."""
    backend = keras.backend.backend()
    if not isinstance(layer, _KINDS):
        raise TypeError(
            "`text` must be a keras.layers.StringLookup or TextVectorization. Received: "
            f"text={layer!r} (of type {type(layer).__name__})"
        )
    if backend != "tensorflow":
        raise ValueError(f"`text` needs the TensorFlow backend. Received: KERAS_BACKEND={backend}")
    if len(inputs) != 1 or keras.backend.is_float_dtype(next(iter(inputs.values())).dtype):
        raise ValueError(
            "`text` is for models that take ids alone. This model takes "
            f"{ {name: str(spec.dtype) for name, spec in inputs.items()} }."
        )
    # Besides the ids of padding and of unknown words.
    config, empty = layer.get_config(), 2
    if isinstance(layer, keras.layers.StringLookup):
        empty = layer.num_oov_indices + (config["mask_token"] is not None)
    wanted = {"output_mode": "int", "invert": False, "ragged": False, "sparse": False}
    other = {key: config[key] for key, value in wanted.items() if config.get(key, value) != value}
    if other:
        raise ValueError(f"`text` must make one id of each word. Received: a layer with {other}")
    if layer.vocabulary_size() <= empty:
        raise ValueError("`text` has no vocabulary. Call its `adapt` first.")


def text_shape(layer: keras.layers.Layer, spec: keras.KerasTensor) -> Shape:
    """Returns the shape of strings: tokens, or whole sentences."""
    return tuple(spec.shape) if isinstance(layer, keras.layers.StringLookup) else (None,)


def text_trials(
    layer: keras.layers.Layer, name: str, spec: keras.KerasTensor, trials: Trials
) -> list[Trial]:
    """Returns strings, and what a model with one input makes of their ids."""
    rng, words = np.random.default_rng(0), words_of(layer)
    found = []
    for trial in trials.whole:
        text = rng.choice(words, trial.inputs[name].shape)
        if len(text_shape(layer, spec)) == 1 < text.ndim:
            text = np.array([" ".join(row) for row in text.reshape(len(text), -1)])
        ids = keras.ops.convert_to_numpy(keras.ops.cast(layer(text), spec.dtype))
        found.append(Trial({"text": text}, trials.trial({name: ids}).outputs))
    return found
