"""One step of a recurrent model, with every state an input and an output."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from keras_hyper.application import installed, loops_of
from keras_hyper.export.agreement import alike
from keras_hyper.export.interface import Named, Specs, UnavailableError, batch_of, widened
from keras_hyper.export.trials import TRIED, Trial, Trials, as_arrays, drawn
from keras_hyper.utils.graph import walk
from keras_hyper.utils.inputs import clean
from keras_hyper.weights.scopes import override, recording


class Stream:
    """A recurrent model, step by step.

    All inputs must have a time axis of any length, and steps must give what whole sequences
    give. Otherwise an `UnavailableError` is raised.

    Attributes:
        inputs: Shapes and dtypes of one step: inputs without time, then states.
        start: The states that a sequence starts with, as arrays of one row.
        trials: Inputs and expected outputs of steps.
    """

    def __init__(self, trials: Trials, layers: list[keras.layers.RNN]) -> None:
        self._whole, self._run, self._layers = trials, trials.interface.run, layers
        self._sequences = trials.interface.inputs
        self._states = [_states_of(layer) for layer in layers]
        for name, spec in self._sequences.items():
            if len(spec.shape) < 2 or spec.shape[1] is not None:
                raise UnavailableError(
                    f"Input '{name}' of shape {tuple(spec.shape)} has no time axis of any length, "
                    "as keras.Input((None, features)) has. Models with other inputs have no steps."
                )
        self.start: dict[str, np.ndarray] = {}
        for layer, names in zip(layers, self._states, strict=True):
            states = map(widened, keras.tree.flatten(layer.get_initial_state(1)))
            self.start.update(zip(names, map(ops.convert_to_numpy, states), strict=True))
        if len(self.start) < sum(map(len, self._states)):
            raise UnavailableError(
                f"Two recurrent layers have the same name: {[layer.name for layer in layers]}."
            )
        self.inputs: Specs = {
            name: batch_of(spec.shape[2:], spec.dtype) for name, spec in self._sequences.items()
        }
        if set(self.inputs) & set(self.start):
            raise UnavailableError(
                f"Inputs have the names of states: {sorted(set(self.inputs) & set(self.start))}."
            )
        for name, state in self.start.items():
            self.inputs[name] = batch_of(state.shape[1:], str(state.dtype))
        # Which outputs have a time axis that goes with that of the inputs.
        self.timed = {
            name
            for name in (trials.whole[0].outputs if trials.whole else ())
            if all(
                trial.outputs[name].shape[1:2] == (length,)
                for (_, length), trial in zip(trials.sizes, trials.whole, strict=True)
            )
        }
        self.trials = self._tried()

    def step(self, tensors: Named) -> Named:
        """Returns the outputs of one step, and the states after it as `next_...`."""
        steps = {name: ops.expand_dims(tensors[name], axis=1) for name in self._sequences}
        named = list(zip(self._layers, self._states, strict=True))
        states = {
            id(layer): [ops.cast(tensors[name], layer.cell.compute_dtype) for name in names]
            for layer, names in named
        }
        loops = loops_of(self._layers)
        with self._unrolled(), installed(loops), override(states), recording() as used:
            outputs = self._run(steps)
        outputs = {
            name: ops.squeeze(value, axis=1) if name in self.timed else value
            for name, value in outputs.items()
        }
        for layer, names in named:
            runs = used.get(id(layer), [])
            if len(runs) != 1:
                raise UnavailableError(
                    f"Layer '{layer.name}' is called {len(runs)} times in one step, and has one "
                    "state."
                )
            after = map(widened, keras.tree.flatten(runs[0].states))
            outputs.update(zip([f"next_{name}" for name in names], after, strict=True))
        return outputs

    @contextlib.contextmanager
    def _unrolled(self) -> Iterator[None]:
        """Within it, recurrent layers take their one step without a loop."""
        unrolled = [layer.unroll for layer in self._layers]
        try:
            for layer in self._layers:
                layer.unroll = True
            yield
        finally:
            for layer, unroll in zip(self._layers, unrolled, strict=True):
                layer.unroll = unroll

    def _tried(self) -> list[Trial]:
        """Returns inputs and outputs of steps, or raises if whole sequences give others.

        A layer that looks along time, such as a convolution, does not show: the model is
        run on a few steps at once, and one by one.
        """
        model, fixed = self._whole.model, self._whole.batch_size
        sequences, trials = drawn(model, self._sequences), []
        whole = as_arrays(self._run(sequences))
        states: Named = {name: np.repeat(row, 2, axis=0) for name, row in self.start.items()}
        steps = []
        for t in range(TRIED):
            inputs = {**{name: value[:, t] for name, value in sequences.items()}, **states}
            outputs = as_arrays(self.step(inputs))
            for size in ([fixed] if fixed else (2, 3)) if t in (0, TRIED - 1) else ():
                rows = {n: np.resize(x, (size, *x.shape[1:])) for n, x in as_arrays(inputs).items()}
                trials.append(self._whole.trial(rows, self.step))
            states = {name: outputs.pop(f"next_{name}") for name in self.start}
            steps.append(outputs)
        for name, value in whole.items():
            alone = steps[-1][name]
            if name in self.timed:
                alone = np.stack([step[name] for step in steps], axis=1)
            if not alike(model, alone, value):
                raise UnavailableError(
                    f"Output '{name}' of single steps is not that of the whole sequence: something "
                    "in the model besides its recurrent layers looks along the time axis, or makes "
                    "the states that they start with."
                )
        return trials


def stream_of(trials: Trials, required: bool | None) -> Stream | None:
    """Returns the steps of a model, None if it has no recurrent layers and needs none."""
    every = list(walk(trials.model))
    for layer in every:
        if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
            raise UnavailableError(f"Layer '{layer.name}' starts at the end of the sequence.")
    layers = [layer for layer in every if isinstance(layer, keras.layers.RNN)]
    if not layers:
        if required:
            raise UnavailableError(f"Model '{trials.model.name}' has no recurrent layers.")
        return None
    return Stream(trials, layers)


def _states_of(layer: keras.layers.RNN) -> list[str]:
    """Returns the names of the states of a layer, unique in the model."""
    cell, count = layer.cell, len(keras.tree.flatten(layer.cell.state_size))
    names = getattr(cell, "state_names", ())
    if type(cell).__module__.startswith("keras.") and not hasattr(cell, "cells"):
        names = ("h", "c")[:count]  # Keras's cells declare none.
    if len(names) != count:
        names = [f"state_{i}" for i in range(count)]
    return [f"{clean(layer.name)}_{name}" for name in names]
