"""One endpoint as a TensorFlow function."""

import contextlib
import dataclasses
import functools
import inspect
import logging
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from keras_hyper.export.interface import Arrays, Named, Run, Specs, Trial
from keras_hyper.typing import Tensor
from keras_hyper.utils.optional import optional

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A function of a SavedModel.

    Attributes:
        inputs: Dict from name to shape and dtype.
        run: Maps a dict of TensorFlow tensors to another.
        trials: Inputs and expected outputs.
        compiled: Whether XLA compiles the function.
    """

    inputs: Specs
    run: Run
    trials: Sequence[Trial] = ()
    compiled: bool = False

    @functools.cached_property
    def function(self) -> "tf.types.experimental.PolymorphicFunction":
        """The `tf.function`, with arguments in the order of `inputs`."""
        tf = tensorflow()
        specs = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in self.inputs.items()
        ]

        def endpoint(*tensors: Tensor) -> Named:
            # Signatures do not check ranks, and a wrong rank can end the process of a server.
            checked = [
                tf.ensure_shape(tensor, spec.shape)
                for tensor, spec in zip(tensors, specs, strict=True)
            ]
            return self.run(dict(zip(self.inputs, checked, strict=True)))

        # Keyword arguments work, as in calls of a signature.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in self.inputs]
        endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        compiled = True if self.compiled else None
        return tf.function(endpoint, input_signature=specs, autograph=False, jit_compile=compiled)

    def call(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Calls the function with arrays."""
        tf = tensorflow()
        tensors = [tf.convert_to_tensor(inputs[n], s.dtype) for n, s in self.inputs.items()]
        return {name: value.numpy() for name, value in self.function(*tensors).items()}


def with_equal_rows(run: Run, inputs: Specs) -> Run:
    """Returns a function that raises if its inputs differ in the number of rows."""
    batched = [name for name, spec in inputs.items() if spec.shape and spec.shape[0] is None]

    def checked(tensors: Named) -> Named:
        tf = tensorflow()
        count = tf.shape(tensors[batched[0]])[0] if batched else None
        same = {}
        for name in batched[1:]:
            # A reshape instead of an assertion, which XLA leaves out.
            shape = tf.concat([[count], tf.shape(tensors[name])[1:]], 0)
            same[name] = tf.ensure_shape(tf.reshape(tensors[name], shape), inputs[name].shape)
        return run({**tensors, **same})

    return checked


def switched(one: Run, rows: Run, names: Sequence[str]) -> Run:
    """Returns `one`, without a batch axis, if all inputs `names` have one row, else `rows`."""

    def run(tensors: Named) -> Named:
        tf = tensorflow()
        counts = tf.stack([tf.shape(tensors[name])[0] for name in names])
        outputs: Named = tf.cond(
            tf.reduce_all(tf.equal(counts, 1)),
            lambda: one({**tensors, **{name: tensors[name][0] for name in names}}),
            lambda: rows(tensors),
        )
        return outputs

    return run


def tensorflow() -> ModuleType:
    """Returns the module, or raises if it is not installed."""
    advice = "Writing a SavedModel needs TensorFlow, also with the JAX backend: pip install "
    return optional(f"{advice}tensorflow-cpu", "tensorflow")[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences TensorFlow's log of temporary paths."""
    log = logging.getLogger("tensorflow")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
