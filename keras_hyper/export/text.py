"""Strings instead of ids: the endpoint `serve_text`."""

import keras
import numpy as np

from keras_hyper.export.endpoint import Endpoint, tensorflow
from keras_hyper.export.interface import Named, Specs, Trial
from keras_hyper.export.trials import Trials, words_of
from keras_hyper.utils.checks import wrong_type

_KINDS = (keras.layers.StringLookup, keras.layers.TextVectorization)
_OPTIONS = {"output_mode": "int", "invert": False, "ragged": False, "sparse": False}


def text_endpoint(layer: keras.layers.Layer, served: Endpoint, trials: Trials) -> Endpoint:
    """Returns the endpoint `served` with tokens or sentences in place of ids."""
    _check(layer, served.inputs)
    ((name, spec),) = served.inputs.items()
    sentences = isinstance(layer, keras.layers.TextVectorization)

    def run(tensors: Named) -> Named:
        ids = tensorflow().cast(layer(tensors["text"]), spec.dtype)
        return served.run({name: tensorflow().ensure_shape(ids, spec.shape)})

    rng, words, tried = np.random.default_rng(0), words_of(layer), []
    for trial in trials.interface.trials:
        text = rng.choice(words, trial.inputs[name].shape)
        if sentences and text.ndim > 1:
            text = np.array([" ".join(row) for row in text.reshape(len(text), -1)])
        ids = keras.ops.convert_to_numpy(keras.ops.cast(layer(text), spec.dtype))
        tried.append(Trial({"text": text}, trials.trial({name: ids}).outputs))
    strings = keras.KerasTensor((None,) if sentences else spec.shape, dtype="string")
    return Endpoint({"text": strings}, run, tried)


def _check(layer: keras.layers.Layer, inputs: Specs) -> None:
    backend = keras.backend.backend()
    if not isinstance(layer, _KINDS):
        raise wrong_type("text", layer, "a keras.layers.StringLookup or TextVectorization")
    if backend != "tensorflow":
        raise ValueError(f"`text` needs the TensorFlow backend. Received: KERAS_BACKEND={backend}")
    if len(inputs) != 1 or keras.backend.is_float_dtype(next(iter(inputs.values())).dtype):
        raise ValueError(
            "`text` is for models that take ids alone. This model takes "
            f"{ {name: str(spec.dtype) for name, spec in inputs.items()} }."
        )
    config = layer.get_config()
    other = {key: config[key] for key, value in _OPTIONS.items() if config.get(key, value) != value}
    if other:
        raise ValueError(f"`text` must make one id of each word. Received: a layer with {other}")
    if not words_of(layer):
        raise ValueError("`text` has no vocabulary. Call its `adapt` first.")
