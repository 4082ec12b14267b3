"""Dependence of the outputs of a function on its inputs."""

from typing import TYPE_CHECKING

import keras

from keras_hyper.export.interface import Named, Run, Specs
from keras_hyper.export.trials import Trials

if TYPE_CHECKING:
    from jax.extend.core import Jaxpr


def needed(run: Run, inputs: Specs, trials: Trials) -> list[str]:
    """Returns the names of the inputs that the outputs depend on, by a traced graph."""

    def traced(*tensors: object) -> Named:
        return run(dict(zip(inputs, tensors, strict=True)))

    if keras.backend.backend() == "jax":
        import jax

        program = jax.make_jaxpr(traced)(*trials.drawn(inputs).values()).jaxpr
        live = live_values(program)
        return [n for n, x in zip(inputs, program.invars, strict=True) if id(x) in live]
    import tensorflow as tf

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


def live_values(program: "Jaxpr") -> set[int]:
    """Returns the `id`s of the values of a JAX program that its outputs depend on."""
    live = {id(x) for x in program.outvars}
    for operation in reversed(program.eqns):
        if operation.effects or any(id(x) in live for x in operation.outvars):
            live |= {id(x) for x in operation.invars}
    return live
