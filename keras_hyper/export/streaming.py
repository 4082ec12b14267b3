"""One step of a recurrent model, with every state an input and an output."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_hyper.application import installed, loops_of
from keras_hyper.export.agreement import alike
from keras_hyper.export.endpoint import Endpoint, tensorflow
from keras_hyper.export.interface import Function, Named, Trial, UnavailableError, batch_of, widened
from keras_hyper.export.trials import SIZE, TRIED, Trials, as_arrays
from keras_hyper.utils.graph import walk
from keras_hyper.utils.inputs import clean
from keras_hyper.weights.scopes import override, recording


class Stream:
    """A recurrent model, step by step. Raises if single steps differ from whole sequences.

    Attributes:
        start: Dict from the name of a state to its initial value, an array of one row.
        function: The function of one step. It takes inputs without a time axis, then states.
    """

    def __init__(self, trials: Trials, layers: Sequence[keras.layers.RNN]) -> None:
        self._trials, self._sequences = trials, trials.interface.inputs
        self._layers = [(layer, _states_of(layer)) for layer in layers]
        for name, spec in self._sequences.items():
            if len(spec.shape) < 2 or spec.shape[1] is not None:
                raise UnavailableError(
                    f"Input '{name}' of shape {tuple(spec.shape)} has no time axis of any length, "
                    "as keras.Input((None, features)) has. Models with other inputs have no steps."
                )
        self.start: dict[str, np.ndarray] = {}
        for layer, names in self._layers:
            states = map(widened, keras.tree.flatten(layer.get_initial_state(1)))
            self.start.update(zip(names, map(ops.convert_to_numpy, states), strict=True))
        if len(self.start) < sum(len(names) for _, names in self._layers):
            raise UnavailableError(
                f"Two recurrent layers have the same name: {[layer.name for layer in layers]}."
            )
        if both := sorted(set(self._sequences) & set(self.start)):
            raise UnavailableError(f"Inputs have the names of states: {both}.")
        inputs = {n: batch_of(s.shape[2:], s.dtype) for n, s in self._sequences.items()}
        inputs |= {n: batch_of(state.shape[1:], state.dtype) for n, state in self.start.items()}
        # The outputs with the time axis of the inputs.
        timed = [
            {name for name, x in trial.outputs.items() if x.shape[1:2] == (length,)}
            for (_, length), trial in zip(trials.sizes, trials.interface.trials, strict=True)
        ]
        self._timed: set[str] = set.intersection(*timed) if timed else set()
        self.function = Function(inputs, self._step, trials=self._tried())

    def _step(self, tensors: Named) -> Named:
        """Returns the outputs of one step, and the states after it as `next_...`."""
        steps = {name: ops.expand_dims(tensors[name], axis=1) for name in self._sequences}
        states = {
            id(layer): [ops.cast(tensors[name], layer.cell.compute_dtype) for name in names]
            for layer, names in self._layers
        }
        layers = [layer for layer, _ in self._layers]
        loops = installed(loops_of(layers))
        with _unrolled(layers), loops, override(states), recording() as used:
            outputs = self._trials.interface.run(steps)
        for name in self._timed:
            outputs[name] = ops.squeeze(outputs[name], axis=1)
        for layer, names in self._layers:
            runs = used.get(id(layer), [])
            if len(runs) != 1:
                raise UnavailableError(
                    f"Layer '{layer.name}' has one state, but is called {len(runs)} times in one "
                    "step."
                )
            after = map(widened, keras.tree.flatten(runs[0].states))
            outputs.update(zip([f"next_{name}" for name in names], after, strict=True))
        return outputs

    def _tried(self) -> list[Trial]:
        """Returns trials of steps, or raises if whole sequences give different outputs.

        The types of layers do not show which of them look along time, as a convolution does. So
        the model is run on a short sequence at once, and step by step.
        """
        model, fixed = self._trials.model, self._trials.batch_size
        sequences, trials = self._trials.drawn(self._sequences, SIZE), []
        whole = as_arrays(self._trials.interface.run(sequences))
        states: Named = {name: np.repeat(row, 2, axis=0) for name, row in self.start.items()}
        steps = []
        for t in range(TRIED):
            inputs = {**{name: value[:, t] for name, value in sequences.items()}, **states}
            outputs = as_arrays(self._step(inputs))
            for size in ([fixed] if fixed else (2, 3)) if t in (0, TRIED - 1) else ():
                rows = {n: np.resize(x, (size, *x.shape[1:])) for n, x in as_arrays(inputs).items()}
                trials.append(self._trials.trial(rows, self._step))
            states = {name: outputs.pop(f"next_{name}") for name in self.start}
            steps.append(outputs)
        for name, value in whole.items():
            alone = steps[-1][name]
            if name in self._timed:
                alone = np.stack([step[name] for step in steps], axis=1)
            if not alike(model, alone, value):
                raise UnavailableError(
                    f"Output '{name}' of single steps differs from that of the whole sequence. "
                    "Something besides the recurrent layers looks along the time axis, or makes "
                    "their initial states."
                )
        return trials


def stream_of(trials: Trials, required: bool) -> Stream | None:
    """Returns the steps of a model, or None if it has no recurrent layers and needs none."""
    every = list(walk(trials.model))
    for layer in every:
        if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
            raise UnavailableError(f"Layer '{layer.name}' starts at the end of the sequence.")
    layers = [layer for layer in every if isinstance(layer, keras.layers.RNN)]
    if required and not layers:
        raise UnavailableError(f"Model '{trials.model.name}' has no recurrent layers.")
    return Stream(trials, layers) if layers else None


def initial_state(states: Mapping[str, np.ndarray]) -> Endpoint:
    """Returns an endpoint that repeats states of one row `batch_size` times."""

    def run(tensors: Named) -> Named:
        repeat, size = tensorflow().repeat, tensors["batch_size"]
        return {name: repeat(row, size, axis=0) for name, row in states.items()}

    trials = [
        Trial(
            {"batch_size": np.array(size, "int32")},
            {name: np.repeat(row, size, axis=0) for name, row in states.items()},
        )
        for size in (2, 3)
    ]
    return Endpoint({"batch_size": keras.KerasTensor((), dtype="int32")}, run, trials)


@contextlib.contextmanager
def _unrolled(layers: Sequence[keras.layers.RNN]) -> Iterator[None]:
    """Lets recurrent layers take their only step without a loop."""
    unrolled = [layer.unroll for layer in layers]
    try:
        for layer in layers:
            layer.unroll = True
        yield
    finally:
        for layer, unroll in zip(layers, unrolled, strict=True):
            layer.unroll = unroll


def _states_of(layer: keras.layers.RNN) -> list[str]:
    """Returns the names of the states of a layer, unique in the model."""
    cell, count = layer.cell, len(keras.tree.flatten(layer.cell.state_size))
    names = getattr(cell, "state_names", ())
    if type(cell).__module__.startswith("keras.") and not hasattr(cell, "cells"):
        names = ("h", "c")[:count]  # Keras's cells declare none.
    if len(names) != count:
        names = [f"state_{i}" for i in range(count)]
    return [f"{clean(layer.name)}_{name}" for name in names]
