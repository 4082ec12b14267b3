"""Conversion of JAX functions to TensorFlow."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_hyper.export.dependence import live_values
from keras_hyper.export.endpoint import tensorflow
from keras_hyper.export.interface import Named, Run, Specs
from keras_hyper.typing import Shape, Tensor

if TYPE_CHECKING:
    import tensorflow as tf


class FromJax:
    """Converts JAX functions that read the same variables.

    Args:
        variables: The variables. TensorFlow reads copies of them.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = variables
        self._copies: dict[int, tf.Variable] = {}

    def convert(self, run: Run, inputs: Specs, drawn: Named) -> Run:
        """Returns a function of TensorFlow tensors, with only the variables that it reads.

        Args:
            run: A function of JAX tensors.
            inputs: Shapes and dtypes by name.
            drawn: Inputs to trace `run` with.
        """
        import jax
        from jax.experimental import jax2tf

        values = [v.value for v in self._variables]
        program = jax.make_jaxpr(_pure(run, self._variables))(values, drawn).jaxpr
        live = live_values(program)
        places = program.invars[: len(values)]
        read = [v for v, x in zip(self._variables, places, strict=True) if id(x) in live]
        shapes = {name: _polymorphic(spec.shape) for name, spec in inputs.items()}
        converted = jax2tf.convert(
            _pure(run, read), polymorphic_shapes=[None, shapes], with_gradient=False
        )
        copies = [self._copy(v) for v in read]
        return lambda tensors: converted(copies, tensors)

    def _copy(self, variable: keras.Variable) -> "tf.Variable":
        if id(variable) not in self._copies:
            self._copies[id(variable)] = tensorflow().Variable(ops.convert_to_numpy(variable))
        return self._copies[id(variable)]


def _pure(
    run: Run, variables: Sequence[keras.Variable]
) -> Callable[[Sequence[Tensor], Named], Named]:
    """Returns a function that takes the values of variables as its first argument."""

    def pure(values: Sequence[Tensor], tensors: Named) -> Named:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return run(tensors)

    return pure


def _polymorphic(shape: Shape) -> str:
    letters = ("b", "t", "u", "v", "w")
    sizes = [letters[i] if n is None else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
