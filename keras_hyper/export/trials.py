"""Comparing endpoints with the model before they are written."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.export.interface import (
    Interface,
    Tensors,
    alike,
    as_arrays,
    drawn,
    reason,
    spread_of,
)
from keras_hyper.utils.graph import walk

Arrays = Mapping[str, np.ndarray]
Size = tuple[int, int]  # Of the batch, and of axes of any length.

# Two programs of the same model add in different orders.
_SLACK = 4
# Endpoints that are the model as a whole.
_WHOLE = ("serving_default", "serve_xla", "serve_text")


@dataclasses.dataclass(frozen=True)
class Trial:
    """Inputs of an endpoint, and the expected outputs.

    Attributes:
        inputs: Arrays by name.
        outputs: Arrays by name.
    """

    inputs: Arrays
    outputs: Arrays


class Trials:
    """Runs a model eagerly on random inputs of several sizes.

    Args:
        model: A built model.
        interface: Its inputs and outputs.
        batch_size: Integer, or None to try two.

    Attributes:
        whole: Inputs of the model and its outputs. Empty if the model needs strings or
            words that cannot be made up.
        sizes: The batch size and the length of each of them.
        draws: Whether a second call of the model gives different outputs.
        repeats: Whether it gives the same outputs from the same state and seeds.

    Raises:
        ValueError: If the model cannot be run.
    """

    def __init__(
        self, model: keras.Model, interface: Interface, batch_size: int | None = None
    ) -> None:
        self.model = model
        self.interface = interface
        self.batch_size = batch_size
        self.sizes, self.whole = self._found()
        self.draws, self.repeats = False, True
        for trial in self.whole[-1:]:
            with unchanged(model):
                first, second = (self._run(trial.inputs) for _ in range(2))
            self.draws, self.repeats = not _equal(first, second), _equal(first, trial.outputs)

    def outputs(self, run: Callable[[Tensors], Tensors], inputs: Arrays) -> Arrays:
        """Returns what a function of tensors makes of arrays, run eagerly."""
        with unchanged(self.model):
            return as_arrays(run({k: ops.convert_to_tensor(x) for k, x in inputs.items()}))

    def one_for_all(self, names: Sequence[str]) -> list[Trial]:
        """Returns the first trial with one row of some inputs for the whole batch."""
        trials = []
        for trial in self.whole[:1] if names else ():
            one = {name: trial.inputs[name][:1] for name in names}
            rows = {name: np.repeat(x, len(trial.inputs[name]), axis=0) for name, x in one.items()}
            outputs = self.outputs(self.interface.run, {**trial.inputs, **rows})
            trials.append(Trial({**trial.inputs, **one}, outputs))
        return trials

    def _found(self) -> tuple[list[Size], list[Trial]]:
        """Returns the first sizes at which the outputs of the model are numbers."""
        specs = self.interface.inputs.values()
        words = any(spec.dtype == "string" for spec in specs) or any(
            hasattr(layer, "lookup_table") for layer in walk(self.model)
        )
        ran: list[tuple[list[Size], list[Trial]]] = []
        problem: Any = None
        for i, sizes in enumerate(self._candidates()):
            if ran and i > 2:
                break  # Longer ones are for models that take no shorter ones.
            try:
                trials = [self._drawn(size, seed) for seed, size in enumerate(sizes)]
            except Exception as error:
                problem = error
                continue
            ran.append((sizes, trials))
            if all(_numbers(x) for trial in trials for x in trial.outputs.values()):
                return ran[-1]
        if ran:
            return ran[0]
        if words:
            return [], []
        raise ValueError(
            f"Model '{self.model.name}' cannot be run on random inputs of two batch sizes and "
            f"lengths, to compare its export with it: {reason(problem)} If it takes only some "
            "lengths, pass `input_signature`, such as keras.Input((64, 3))."
        ) from problem

    def _candidates(self) -> list[list[Size]]:
        specs = self.interface.inputs.values()
        fixed = self.batch_size
        if not any(size is None for spec in specs for size in spec.shape[1:]):
            return [[(fixed or 2, 1), (fixed or 3, 1)]]
        # A batch smaller than the length, and a larger one.
        both = [[(fixed or 2, 2 * n), (fixed or n + 1, n)] for n in (4, 16, 64)]
        return both + [[(fixed or 2, 2 * n), (fixed or 3, n)] for n in (256, 1024)]

    def _drawn(self, size: Size, seed: int) -> Trial:
        inputs = as_arrays(drawn(self.model, self.interface.inputs, *size, seed=seed))
        return Trial(inputs, self.outputs(self.interface.run, inputs))

    def _run(self, inputs: Arrays) -> Arrays:
        return as_arrays(
            self.interface.run({k: ops.convert_to_tensor(x) for k, x in inputs.items()})
        )

    def check(
        self,
        name: str,
        trials: Sequence[Trial],
        call: Callable[[Arrays], Mapping[str, Any]],
        same_seeds: bool = True,
    ) -> None:
        """Raises if an endpoint gives something else than the model.

        Args:
            name: Name of the endpoint.
            trials: Its inputs and expected outputs.
            call: The endpoint, from arrays by name to outputs by name.
            same_seeds: Whether it draws the same random numbers as the model from its seeds.
        """
        spreads = _spreads(trials)
        random = self.draws and not (self.repeats and same_seeds)
        for trial in trials:
            shapes = {key: x.shape for key, x in trial.inputs.items()}
            try:
                with unchanged(self.model):
                    outputs, again = (
                        {key: np.asarray(x) for key, x in call(trial.inputs).items()}
                        if i == 0 or random
                        else {}
                        for i in range(2)
                    )
            except Exception as error:
                raise ValueError(
                    f"Endpoint '{name}' of model '{self.model.name}' cannot be run on inputs of "
                    f"shapes {shapes}: {reason(error)}"
                ) from error
            for key, expected in trial.outputs.items():
                actual = outputs.get(key)
                if actual is not None and actual.shape == expected.shape:
                    if random or alike(self.model, actual, expected, spreads.get(key), _SLACK):
                        continue
                    problem = "has other values"
                else:
                    shape = None if actual is None else actual.shape
                    problem = f"has shape {shape} instead of {expected.shape}"
                raise ValueError(
                    f"Endpoint '{name}' differs from model '{self.model.name}', and nothing was "
                    f"written: output '{key}' {problem} for inputs of shapes {shapes}. Look for a "
                    "layer that depends on static shapes, on Python values that change, or on "
                    "eager execution."
                )
            if random and name in _WHOLE and _equal(outputs, again):
                raise ValueError(
                    f"Endpoint '{name}' differs from model '{self.model.name}', and nothing was "
                    "written: the model gives different outputs at each call, and the endpoint "
                    "the same. Draw random numbers with `keras.random`, not with Python or NumPy."
                )


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Within it, a model may be tried. Afterwards its state and seeds are as before."""
    states = model.non_trainable_variables
    values = [ops.copy(state) for state in states]
    try:
        yield
    finally:
        for state, value in zip(states, values, strict=True):
            state.assign(value)


def _equal(a: Arrays, b: Arrays) -> bool:
    return all(np.array_equal(a[key], b[key], equal_nan=a[key].dtype.kind in "fc") for key in a)


def _numbers(array: np.ndarray) -> bool:
    return bool(array.size) and (array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))


def _spreads(trials: Sequence[Trial]) -> dict[str, float]:
    """Returns how much each output differs between samples, steps and trials."""
    spreads: dict[str, float] = {}
    for name in trials[0].outputs if trials else ():
        arrays = [trial.outputs[name] for trial in trials]
        if arrays[0].dtype.kind not in "fiub":
            continue
        ends = {array.shape[-1] if array.ndim > 1 else 1 for array in arrays}
        if len(ends) == 1:
            arrays = [np.concatenate([array.reshape(-1, *ends) for array in arrays])]
        spreads[name] = max(map(spread_of, arrays))
    return spreads
