"""Generated weights and states during a call of a model."""

import dataclasses

import keras
import numpy as np

from keras_hyper.application import installed, loops_of
from keras_hyper.inspect.recording import WeightRecord, record_weights
from keras_hyper.ops import as_array
from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.typing import Tensors
from keras_hyper.utils.graph import walk
from keras_hyper.weights import find_weights
from keras_hyper.weights.scopes import recording


@dataclasses.dataclass(frozen=True)
class Observed:
    """The generated weights of a call.

    Attributes:
        weights: Arrays, by `"layer/weight"`.
        batched: Names of the per-sample weights.
        records: Results of `record_weights`, by the name of the recurrent layer.
    """

    weights: dict[str, np.ndarray]
    batched: frozenset[str]
    records: dict[str, WeightRecord]


def observe(model: keras.Model, inputs: Tensors = None) -> Observed:
    """Calls a model in inference, and returns its generated weights.

    With `inputs=None` it is not called, and only weights without a condition are returned. If a
    layer is called several times, its last call counts.
    """
    recurrent = [x for x in walk(model) if isinstance(x, RecurrentLayer) and x.built]
    with installed(loops_of(recurrent)), recording() as used:
        if inputs is not None:
            model(inputs, training=False)
    weights: dict[str, np.ndarray] = {}
    batched: set[str] = set()
    for found in find_weights(model):
        name = "/".join(found.names)
        if name in weights:  # For example, a second hypernetwork with the same target.
            name = f"{found.owner.name}/{found.path}"
        kernels = used.get(id(found.weight), [])
        if kernels or not found.weight.conditioned:
            kernel = kernels[-1] if kernels else found.weight.kernel()
            weights[name] = as_array(kernel.materialize())
            batched |= {name} if kernel.batched else set()
    records = {}
    for layer in recurrent:
        for run in used.get(id(layer), [])[-1:]:
            mask = keras.tree.flatten(run.mask)[0]
            records[layer.name] = record_weights(layer, run.sequences, run.initial_state, mask)
    return Observed(weights, frozenset(batched), records)
