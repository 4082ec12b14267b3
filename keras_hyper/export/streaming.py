"""One step of a recurrent model, with every state an input and an output."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.application import installed, loops_of
from keras_hyper.export.interface import (
    TRIED,
    Interface,
    Specs,
    Tensors,
    alike,
    as_arrays,
    drawn,
    reason,
    widened,
)
from keras_hyper.export.trials import Trial, Trials
from keras_hyper.rnn import (
    HyperGRUCell,
    HyperLSTMCell,
    HyperSimpleRNNCell,
    LayerNormLSTMCell,
)
from keras_hyper.utils.graph import walk
from keras_hyper.utils.inputs import clean
from keras_hyper.weights.scopes import override, recording

# Names of the states of cells; of others they are numbered.
_STATES = {
    keras.layers.SimpleRNNCell: ("h",),
    keras.layers.GRUCell: ("h",),
    keras.layers.LSTMCell: ("h", "c"),
    LayerNormLSTMCell: ("h", "c"),
    HyperSimpleRNNCell: ("h", "hyper_h"),
    HyperGRUCell: ("h", "hyper_h"),
    HyperLSTMCell: ("h", "c", "hyper_h", "hyper_c"),
}


class NotStreamableError(ValueError):
    """Says why a model has no single steps."""


class Stream:
    """A recurrent model, step by step.

    Args:
        model: A built model.
        interface: Its inputs and outputs. All inputs must have a time axis of any
            length.
        trials: Inputs and outputs of several lengths.

    Attributes:
        inputs: Shapes and dtypes of one step: inputs without time, then states.
        start: The states that a sequence starts with, as arrays of one row.
        trials: Inputs and expected outputs of steps, once `check` has found them.

    Raises:
        NotStreamableError: If the model cannot be run step by step.
    """

    def __init__(self, model: keras.Model, interface: Interface, trials: Trials) -> None:
        self.model = model
        self.trials: list[Trial] = []
        self._whole = trials
        self.interface = interface
        self.layers = recurrent_layers(model)
        for name, spec in interface.inputs.items():
            if len(spec.shape) < 2 or spec.shape[1] is not None:
                raise NotStreamableError(
                    f"Input '{name}' of shape {tuple(spec.shape)} has no time axis of any length, "
                    "as keras.Input((None, features)) has. Models with other inputs have no steps."
                )
        self.start: dict[str, np.ndarray] = {}
        for layer in self.layers:
            states = map(widened, keras.tree.flatten(layer.get_initial_state(1)))
            self.start.update(zip(_names(layer), map(ops.convert_to_numpy, states), strict=True))
        if len(self.start) < sum(len(_names(layer)) for layer in self.layers):
            raise NotStreamableError(
                f"Two recurrent layers have the same name: {[layer.name for layer in self.layers]}."
            )
        self.inputs: Specs = {
            name: keras.KerasTensor((None, *spec.shape[2:]), dtype=spec.dtype)
            for name, spec in interface.inputs.items()
        }
        if set(self.inputs) & set(self.start):
            raise NotStreamableError(
                f"Inputs have the names of states: {sorted(set(self.inputs) & set(self.start))}."
            )
        for name, state in self.start.items():
            shape = (None, *state.shape[1:])
            self.inputs[name] = keras.KerasTensor(shape, dtype=str(state.dtype))
        # Which outputs have a time axis that goes with that of the inputs.
        self.timed = {
            name
            for name in (trials.whole[0].outputs if trials.whole else ())
            if all(
                trial.outputs[name].shape[1:2] == (length,)
                for (_, length), trial in zip(trials.sizes, trials.whole, strict=True)
            )
        }

    def step(self, tensors: Tensors) -> Tensors:
        """Returns the outputs of one step, and the states after it as `next_...`."""
        steps = {name: ops.expand_dims(tensors[name], axis=1) for name in self.interface.inputs}
        states = {
            id(layer): [ops.cast(tensors[n], layer.cell.compute_dtype) for n in _names(layer)]
            for layer in self.layers
        }
        loops = loops_of(self.layers)
        with self._unrolled(), installed(loops), override(states), recording() as used:
            outputs = self.interface.run(steps)
        for layer in self.layers:
            if len(used.get(id(layer), [])) != 1:
                raise NotStreamableError(
                    f"Layer '{layer.name}' is called {len(used.get(id(layer), []))} times in one "
                    "step, and has one state."
                )
        outputs = {
            name: ops.squeeze(value, axis=1) if name in self.timed else value
            for name, value in outputs.items()
        }
        for layer in self.layers:
            (run,) = used[id(layer)]
            after = map(widened, keras.tree.flatten(run.states))
            outputs.update(zip((f"next_{n}" for n in _names(layer)), after, strict=True))
        return outputs

    @contextlib.contextmanager
    def _unrolled(self) -> Iterator[None]:
        """Within it, recurrent layers take their one step without a loop."""
        unrolled = [layer.unroll for layer in self.layers]
        try:
            for layer in self.layers:
                layer.unroll = True
            yield
        finally:
            for layer, unroll in zip(self.layers, unrolled, strict=True):
                layer.unroll = unroll

    def check(self) -> None:
        """Raises if steps give something else than whole sequences.

        A layer that looks along time, such as a convolution, does not show: the model is
        run on a few steps at once, and one by one.
        """
        sequences = drawn(self.model, self.interface.inputs)
        whole = as_arrays(self.interface.run(sequences))
        states: Tensors = {name: np.repeat(row, 2, axis=0) for name, row in self.start.items()}
        steps = []
        for t in range(TRIED):
            inputs = {**{name: value[:, t] for name, value in sequences.items()}, **states}
            outputs = as_arrays(self.step(inputs))
            if t in (0, TRIED - 1):
                self._try(as_arrays(inputs), outputs)
            states = {name: outputs.pop(f"next_{name}") for name in self.start}
            steps.append(outputs)
        for name, value in whole.items():
            alone = steps[-1][name]
            if name in self.timed:
                alone = np.stack([step[name] for step in steps], axis=1)
            if not alike(self.model, alone, value):
                raise NotStreamableError(
                    f"Output '{name}' of single steps is not that of the whole sequence: something "
                    "in the model besides its recurrent layers looks along the time axis, or makes "
                    "the states that they start with."
                )

    def _try(self, inputs: Any, outputs: Any) -> None:
        """Adds a step to the trials, and the same rows in another number."""
        fixed = self._whole.batch_size
        if fixed is None:
            self.trials.append(Trial(inputs, dict(outputs)))
        rows = {n: np.resize(x, (fixed or 3, *x.shape[1:])) for n, x in inputs.items()}
        self.trials.append(Trial(rows, self._whole.outputs(self.step, rows)))


def stream_of(
    model: keras.Model, interface: Interface, trials: Trials, required: bool | None
) -> Stream | None:
    """Returns the steps of a model, None if it has none or none are wanted.

    Args:
        model: A built model.
        interface: Its inputs and outputs.
        trials: Inputs and outputs of several lengths.
        required: Whether they are wanted; None if there are any.

    Raises:
        NotStreamableError: If they are not what whole sequences give.
    """
    if required is False:
        return None
    if not recurrent_layers(model):
        if required:
            raise NotStreamableError(f"Model '{model.name}' has no recurrent layers.")
        return None
    try:
        stream = Stream(model, interface, trials)
        stream.check()
    except NotStreamableError:
        raise
    except Exception as error:
        raise NotStreamableError(
            f"Model '{model.name}' cannot be run on single steps: {reason(error)}"
        ) from error
    return stream


def recurrent_layers(model: keras.Model) -> list[Any]:
    """Returns the recurrent layers of a model.

    Args:
        model: The model.

    Raises:
        NotStreamableError: If one of them has no single steps.
    """
    layers = list(walk(model))
    for layer in layers:
        if isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "go_backwards", False):
            raise NotStreamableError(f"Layer '{layer.name}' starts at the end of the sequence.")
    return [layer for layer in layers if isinstance(layer, keras.layers.RNN)]


def _names(layer: Any) -> list[str]:
    """Returns the names of the states of a layer, unique in the model."""
    count = len(keras.tree.flatten(layer.cell.state_size))
    suffixes: Sequence[str] = _STATES.get(type(layer.cell), ())
    if len(suffixes) != count:
        suffixes = [f"state_{i}" for i in range(count)]
    return [f"{clean(layer.name)}_{suffix}" for suffix in suffixes]
