"""Trials of a model on random inputs, and the comparison of endpoints with the model."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_hyper.export.agreement import alike, equal, numbers, spreads
from keras_hyper.export.interface import Arrays, Function, Named, Run, Specs, Trial, reason
from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import walk

TRIED = 16  # Length of the free axes of random inputs.
SIZE = (2, TRIED)
_SLACK = 4  # Two programs of the same model add in different orders.
_WHOLE = ("serving_default", "serve_xla", "serve_text")  # Endpoints that run the whole model.

Size = tuple[int, int]  # Batch size and length of the free axes.
Call = Callable[[Arrays], Mapping[str, Tensor]]


class Trials:
    """Runs a model eagerly on random inputs of several sizes.

    Attributes:
        interface: The model as a function. It has no trials if its strings or words are unknown.
        sizes: The batch size and the length of each of them.
        draws: Whether a second call of the model gives different outputs.
        repeats: Whether the model gives the same outputs from the same state and seeds.
    """

    def __init__(
        self, model: keras.Model, interface: Function, batch_size: int | None = None
    ) -> None:
        self.model = model
        self.interface = interface
        self.batch_size = batch_size
        self.sizes, trials = self._found()
        self.interface = dataclasses.replace(interface, trials=trials)
        self.draws, self.repeats = False, True
        for trial in trials[-1:]:
            with unchanged(model):
                first, second = (_called(interface.run, trial.inputs) for _ in range(2))
            self.draws, self.repeats = not equal(first, second), equal(first, trial.outputs)

    def trial(self, inputs: Arrays, run: Run | None = None) -> Trial:
        """Runs a function eagerly, by default the model."""
        with unchanged(self.model):
            return Trial(inputs, _called(run or self.interface.run, inputs))

    def drawn(self, specs: Specs, size: Size | None = None, seed: int = 0) -> Named:
        """Returns random inputs, by default of the size of the first trial."""
        batch, length = size or next(iter(self.sizes), SIZE)
        rng, layers = np.random.default_rng(seed), list(walk(self.model))
        tables = [getattr(x, "input_dim", None) or getattr(x, "num_tasks", None) for x in layers]
        # Ids that every table has, without that of padding where possible.
        ids = min((n for n in tables if isinstance(n, int)), default=2)
        words = [w for x in layers if hasattr(x, "get_vocabulary") for w in words_of(x)]
        words = [word for word in words if isinstance(word, str)] or ["a", "b"]
        tensors: Named = {}
        for name, spec in specs.items():
            shape = [n or (length if i else batch) for i, n in enumerate(spec.shape)]
            if spec.dtype == "string":
                values = rng.choice(words, shape)
            elif keras.backend.is_float_dtype(spec.dtype):
                values = rng.normal(size=shape)
            elif spec.dtype == "bool":
                values = rng.integers(0, 2, shape)
            else:
                values = rng.integers(1 if ids > 2 else 0, ids, shape)
            dtype = None if spec.dtype == "string" else spec.dtype
            tensors[name] = ops.convert_to_tensor(values, dtype=dtype)
        return tensors

    def _found(self) -> tuple[list[Size], list[Trial]]:
        """Returns the first sizes with finite outputs, and their trials."""
        specs = self.interface.inputs
        first: tuple[list[Size], list[Trial]] | None = None
        problem: Exception | None = None
        for i, sizes in enumerate(self._candidates()):
            if first and i > 2:
                break  # The longer ones are for models that take no shorter ones.
            try:
                drawn = [self.drawn(specs, size, seed) for seed, size in enumerate(sizes)]
                trials = [self.trial(as_arrays(inputs)) for inputs in drawn]
            except Exception as error:
                problem = error
                continue
            if all(numbers(x) for trial in trials for x in trial.outputs.values()):
                return sizes, trials
            first = first or (sizes, trials)
        if first:
            return first
        strings = any(spec.dtype == "string" for spec in specs.values())
        if strings or any(hasattr(layer, "lookup_table") for layer in walk(self.model)):
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

    def check(
        self, name: str, trials: Sequence[Trial], call: Call, same_seeds: bool = True
    ) -> None:
        """Raises if an endpoint gives different outputs than the model.

        With `same_seeds`, the endpoint draws the same random numbers as the model.
        """
        spread = spreads([trial.outputs for trial in trials])
        random = self.draws and not (self.repeats and same_seeds)
        differs = f"Endpoint '{name}' differs from model '{self.model.name}'"
        for trial in trials:
            shapes = {key: x.shape for key, x in trial.inputs.items()}
            try:
                with unchanged(self.model):
                    outputs, *again = (
                        {key: np.asarray(x) for key, x in call(trial.inputs).items()}
                        for _ in range(2 if random else 1)
                    )
            except Exception as error:
                raise ValueError(
                    f"Endpoint '{name}' of model '{self.model.name}' cannot be run on inputs of "
                    f"shapes {shapes}: {reason(error)}"
                ) from error
            for key, expected in trial.outputs.items():
                shape = outputs[key].shape if key in outputs else None
                if shape != expected.shape:
                    problem = f"has shape {shape} instead of {expected.shape}"
                elif random or alike(self.model, outputs[key], expected, spread.get(key), _SLACK):
                    continue
                else:
                    problem = "has different values"
                raise ValueError(
                    f"{differs}: output '{key}' {problem} for inputs of shapes {shapes}. Nothing "
                    "was written. Look for a layer that depends on static shapes, on Python values "
                    "that change, or on eager execution."
                )
            if random and name in _WHOLE and equal(outputs, again[0]):
                raise ValueError(
                    f"{differs}: each call of the model gives different outputs, and the endpoint "
                    "always the same. Nothing was written. Draw random numbers with "
                    "`keras.random`, not with Python or NumPy."
                )


def words_of(layer: keras.layers.StringLookup) -> list[str]:
    """Returns the vocabulary of a layer."""
    return list(layer.get_vocabulary(include_special_tokens=False))


def as_arrays(tensors: Named) -> dict[str, np.ndarray]:
    """Returns tensors as arrays."""
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Restores the state and the seeds of a model at the end."""
    states = model.non_trainable_variables
    values = [ops.copy(state) for state in states]
    try:
        yield
    finally:
        for state, value in zip(states, values, strict=True):
            state.assign(value)


def _called(run: Run, inputs: Arrays) -> dict[str, np.ndarray]:
    return as_arrays(run({key: ops.convert_to_tensor(x) for key, x in inputs.items()}))
