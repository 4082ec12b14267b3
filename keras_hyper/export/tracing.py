"""Traced functions: which inputs they need, and their conversion from JAX to TensorFlow."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

from keras_hyper.export.endpoint import tensorflow
from keras_hyper.export.interface import Named, Run, Specs
from keras_hyper.export.trials import Trials
from keras_hyper.typing import Shape, Tensor

if TYPE_CHECKING:
    import tensorflow as tf
    from jax.extend.core import Jaxpr


def needed(run: Run, inputs: Specs, trials: Trials) -> list[str]:
    """Returns the names of the inputs that the outputs of a function depend on."""

    def traced(*tensors: object) -> Named:
        return run(dict(zip(inputs, tensors, strict=True)))

    if keras.backend.backend() == "jax":
        import jax

        program = jax.make_jaxpr(traced)(*trials.drawn(inputs).values()).jaxpr
        live = _live_values(program)
        return [n for n, x in zip(inputs, program.invars, strict=True) if id(x) in live]
    tf = tensorflow()
    specs = [tf.TensorSpec(spec.shape, spec.dtype) for spec in inputs.values()]
    graph = tf.function(traced, autograph=False).get_concrete_function(*specs).graph
    waiting, seen = [tensor.op for tensor in graph.outputs], set()
    while waiting:
        operation = waiting.pop()
        if operation not in seen:
            seen.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    places = graph.inputs[: len(inputs)]
    return [name for name, place in zip(inputs, places, strict=True) if place.op in seen]


class FromJax:
    """Converts JAX functions, which then share copies of the variables that they read."""

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self._variables = variables
        self._copies: dict[int, tf.Variable] = {}

    def convert(self, run: Run, inputs: Specs, drawn: Named) -> Run:
        """Returns a function of TensorFlow tensors. The JAX function is traced with `drawn`."""
        import jax
        from jax.experimental import jax2tf

        values = [v.value for v in self._variables]
        program = jax.make_jaxpr(_pure(run, self._variables))(values, drawn).jaxpr
        live = _live_values(program)
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


def _live_values(program: "Jaxpr") -> set[int]:
    """Returns the `id`s of the values of a JAX program that its outputs depend on."""
    live = {id(x) for x in program.outvars}
    for operation in reversed(program.eqns):
        if operation.effects or any(id(x) in live for x in operation.outvars):
            live |= {id(x) for x in operation.invars}
    return live


def _pure(
    run: Run, variables: Sequence[keras.Variable]
) -> Callable[[Sequence[Tensor], Named], Named]:
    """Returns a function that takes the values of variables as its first argument."""

    def pure(values: Sequence[Tensor], tensors: Named) -> Named:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return run(tensors)

    return pure


def _polymorphic(shape: Shape) -> str:
    """Returns a shape with the same symbols for the free axes of all inputs."""
    sizes = [f"d{i}" if n is None else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
