"""Which inputs of a function its outputs depend on."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_hyper.export.interface import Specs, Tensors, drawn


def needed(
    model: keras.Model,
    run: Callable[[Tensors], Tensors],
    inputs: Specs,
    size: Sequence[int] = (),
) -> list[str]:
    """Returns the names of the inputs that outputs depend on, from a traced graph.

    Args:
        model: The model that the function is about.
        run: From a dict of tensors to another.
        inputs: Shapes and dtypes by name.
        size: A batch size and a length that the model takes, for JAX.
    """

    def traced(*tensors: Any) -> Tensors:
        return run(dict(zip(inputs, tensors, strict=True)))

    if keras.backend.backend() == "jax":
        import jax

        tensors = list(drawn(model, inputs, *size).values())
        program = jax.make_jaxpr(traced)(*tensors).jaxpr
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


def live_values(program: Any) -> set[int]:
    """Returns the `id`s of the values of a JAX program that its outputs depend on."""
    live = {id(x) for x in program.outvars}
    for operation in reversed(program.eqns):
        if operation.effects or any(id(x) in live for x in operation.outvars):
            live |= {id(x) for x in operation.invars}
    return live
