"""One endpoint as a TensorFlow function."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_hyper.export.interface import Specs, Tensors
from keras_hyper.export.trials import Trial

Run = Callable[[Tensors], Tensors]


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A function that a SavedModel has.

    Attributes:
        inputs: Shapes and dtypes by name.
        run: From a dict of TensorFlow's tensors to another.
        compiled: Whether XLA compiles it.
        trials: Inputs and expected outputs.
    """

    inputs: Specs
    run: Run
    compiled: bool = False
    trials: Sequence[Trial] = ()

    @functools.cached_property
    def function(self) -> Any:
        """It as a `tf.function` of tensors in the order of `inputs`."""
        tf = tensorflow()
        specs = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in self.inputs.items()
        ]

        def endpoint(*tensors: Any) -> Tensors:
            # A signature takes tensors of any rank, and the kernels of some operations
            # end the process, and so the server, at a wrong one.
            checked = [
                tf.ensure_shape(tensor, spec.shape)
                for tensor, spec in zip(tensors, specs, strict=True)
            ]
            return self.run(dict(zip(self.inputs, checked, strict=True)))

        # The arguments have names, as those of a signature.
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in self.inputs]
        endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        compiled = True if self.compiled else None
        return tf.function(endpoint, input_signature=specs, autograph=False, jit_compile=compiled)

    def call(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs for arrays by name."""
        tf = tensorflow()
        tensors = [tf.convert_to_tensor(inputs[n], s.dtype) for n, s in self.inputs.items()]
        return {name: value.numpy() for name, value in self.function(*tensors).items()}


def tensorflow() -> Any:
    """Returns the module, or raises if it is not installed."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "Writing a SavedModel needs TensorFlow, with the JAX backend too: pip install "
            "tensorflow-cpu"
        ) from error
    return tf
