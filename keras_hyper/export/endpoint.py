"""One endpoint as a TensorFlow function."""

import contextlib
import dataclasses
import functools
import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from keras_hyper.export.interface import Named, Run, Specs
from keras_hyper.export.trials import Trial
from keras_hyper.typing import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A function that a SavedModel has.

    Attributes:
        inputs: Shapes and dtypes by name.
        run: From a dict of TensorFlow's tensors to another.
        trials: Inputs and expected outputs.
        one_row: None, or the function for one row of some inputs, which serves all samples.
        names: The names of these inputs.
        compiled: Whether XLA compiles it.
    """

    inputs: Specs
    run: Run
    trials: Sequence[Trial] = ()
    one_row: Run | None = None
    names: Sequence[str] = ()
    compiled: bool = False

    @functools.cached_property
    def function(self) -> "tf.types.experimental.PolymorphicFunction":
        """It as a `tf.function` of tensors in the order of `inputs`."""
        tf = tensorflow()
        specs = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in self.inputs.items()
        ]
        run = self.run if self.one_row is None else _switched(self.one_row, self.run, self.names)

        def endpoint(*tensors: Tensor) -> Named:
            # A signature takes tensors of any rank, and the kernels of some operations
            # end the process, and so the server, at a wrong one.
            checked = [
                tf.ensure_shape(tensor, spec.shape)
                for tensor, spec in zip(tensors, specs, strict=True)
            ]
            return run(dict(zip(self.inputs, checked, strict=True)))

        # The arguments have names, as those of a signature.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in self.inputs]
        endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        compiled = True if self.compiled else None
        return tf.function(endpoint, input_signature=specs, autograph=False, jit_compile=compiled)

    def call(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs for arrays by name."""
        tf = tensorflow()
        tensors = [tf.convert_to_tensor(inputs[n], s.dtype) for n, s in self.inputs.items()]
        return {name: value.numpy() for name, value in self.function(*tensors).items()}


def with_equal_rows(run: Run, inputs: Specs) -> Run:
    """Returns a function that fails where its inputs have not equally many rows."""
    batched = [name for name, spec in inputs.items() if spec.shape and spec.shape[0] is None]

    def checked(tensors: Named) -> Named:
        tf = tensorflow()
        count = tf.shape(tensors[batched[0]])[0] if batched else None
        # Not an assertion, which XLA leaves out: a shape that cannot be.
        same = {
            name: tf.reshape(tensors[name], tf.concat([[count], tf.shape(tensors[name])[1:]], 0))
            for name in batched[1:]
        }
        same = {name: tf.ensure_shape(x, inputs[name].shape) for name, x in same.items()}
        return run({**tensors, **same})

    return checked


def _switched(one: Run, rows: Run, names: Sequence[str]) -> Run:
    """Returns a function that takes one row of some inputs for the whole batch."""

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
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "Writing a SavedModel needs TensorFlow, with the JAX backend too: pip install "
            "tensorflow-cpu"
        ) from error
    module: ModuleType = tf
    return module


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
