"""(q) One step of a served recurrent network, for clients that stream."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.serving import loaded
from benchmarks.steps import normal

# Sequences at once, units, and units of the hyper cell.
SIZES = {
    "1 client, 256 units": (1, 256, 64),
    "1 client, 1000 units": (1, 1000, 128),
    "32 clients, 256 units": (32, 256, 64),
}
REFERENCE = "Keras LSTM"
FEATURES = 64


def step_of(kind: str, **options: Any) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a call of `step` with the states of the call before."""

    def make(size: tuple[int, int, int]) -> Callable[[], Any]:
        import keras
        import tensorflow as tf

        from keras_hyper import HyperLSTM

        clients, units, hyper_units = size
        layer = keras.layers.LSTM(units)
        if kind == "ours":
            layer = HyperLSTM(units, hyper_units=hyper_units, embedding_dim=16, **options)
        keep, endpoints = loaded(keras.Sequential([keras.Input((None, FEATURES)), layer]))
        x, step = tf.constant(normal(clients, FEATURES)), endpoints["step"]
        states = dict(endpoints["initial_state"](batch_size=tf.constant(clients)))

        def call() -> Any:
            outputs = step(inputs=x, **states)
            states.update({name: outputs[f"next_{name}"] for name in states})
            return keep, outputs["outputs"].numpy()

        return call

    return make


CANDIDATES = {
    "HyperLSTM": Candidate("tensorflow", step_of("ours")),
    "HyperLSTM, layer norm": Candidate("tensorflow", step_of("ours", layer_norm=True)),
    REFERENCE: Candidate("tensorflow", step_of("keras")),
}
