"""What a model generates when it is called, without a change to it."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_hyper.graph import walk
from keras_hyper.models import Hypernetwork
from keras_hyper.ops import as_array
from keras_hyper.rnn.recording import WeightRecord, record_weights
from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.weights import find_weights


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a model generated.

    Attributes:
        weights: By `"layer/weight"`, the weights as arrays.
        batched: Which of them have a batch axis in front, with a weight for each sample.
        records: By the name of a recurrent layer, what its weights did along the
            sequences, as `record_weights` returns it.
    """

    weights: dict[str, np.ndarray]
    batched: frozenset[str]
    records: dict[str, WeightRecord]


def observe(model: keras.Model, inputs: Any = None) -> Observed:
    """Calls a model as in inference, and returns what it generated.

    Args:
        model: A built model.
        inputs: What it takes. With None it is not called, and what depends on
            inputs is left out. Of layers that are called several times, the last counts.
    """
    layers = list(walk(model))
    over = [layer for layer in layers if isinstance(layer, Hypernetwork)]
    recurrent = [x for x in layers if isinstance(x, RecurrentLayer) and x.built]
    found = find_weights(model)
    of_targets = [x for x in found if isinstance(x.owner, Hypernetwork)]
    weights = {x.path: x.weight for x in of_targets}
    alone = {"/".join(x.names): x.weight for x in found if x not in of_targets}
    made: dict[str, Any] = {}
    sequences: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        for name, weight in alone.items():
            see = functools.partial(_keep_weight, made, name)
            stack.enter_context(_watched(weight, "kernel", see))
        for hyper in over:
            see = functools.partial(_keep_weights, made)
            stack.enter_context(_watched(hyper, "_kernels", see))
        for layer in recurrent:
            see = functools.partial(_keep_input, sequences, layer.name)
            stack.enter_context(_watched(layer, "call", see))
        if inputs is not None:
            model(inputs, training=False)
    for name, weight in alone.items():
        if name not in made and not weight.conditioned:
            made[name] = weight()
    for hyper in over:
        if hyper.condition is None and inputs is None:
            made.update(hyper.generate())
    ranks = {name: len(weight.weight_shape) for name, weight in (weights | alone).items()}
    return Observed(
        weights={name: as_array(weight) for name, weight in made.items()},
        batched=frozenset(name for name, w in made.items() if len(w.shape) > ranks[name]),
        records={
            layer.name: record_weights(layer, sequences[layer.name])
            for layer in recurrent
            if layer.name in sequences
        },
    )


@contextlib.contextmanager
def _watched(owner: Any, name: str, see: Callable[[tuple[Any, ...], Any], Any]) -> Iterator[None]:
    """Within it, `see` is told of what a method was called with, and what it returned."""
    method = getattr(owner, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        outputs = method(*args, **kwargs)
        see(args, outputs)
        return outputs

    setattr(owner, name, watched)
    try:
        yield
    finally:
        delattr(owner, name)


def _keep_weight(made: dict[str, Any], name: str, args: Any, kernel: Any) -> None:
    made[name] = kernel.materialize()


def _keep_weights(made: dict[str, Any], args: Any, weights: dict[str, Any]) -> None:
    made.update({path: kernel.materialize() for path, kernel in weights.items()})


def _keep_input(sequences: dict[str, Any], name: str, args: Any, outputs: Any) -> None:
    sequences[name] = args[0]
