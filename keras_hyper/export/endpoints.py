"""Which endpoints a model has."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_hyper.checks import check_model
from keras_hyper.export.builder import Builder
from keras_hyper.export.conditioned import NotSeparableError, conditioned
from keras_hyper.export.folding import Folded
from keras_hyper.export.interface import interface_of
from keras_hyper.export.streaming import NotStreamableError, stream_of


def endpoints_of(
    model: keras.Model,
    *,
    fold: bool,
    streaming: bool | None,
    input_signature: Any,
    one_for_all: bool = True,
) -> Builder:
    """Returns a builder with all endpoints of a model but those for XLA and for text.

    Args:
        model: A built model.
        fold: See `export_saved_model`, as the next two.
        streaming: See there.
        input_signature: See there.
        one_for_all: Whether one row of a condition, or of weights, may serve a batch.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: See there.
    """
    check_model(model)
    with _unchanged(model):
        return _found(model, fold, streaming, input_signature, one_for_all)


def _found(
    model: keras.Model, fold: bool, streaming: bool | None, input_signature: Any, one_for_all: bool
) -> Builder:
    interface = interface_of(model, input_signature)
    build = Builder(model, Folded(model) if fold else None)
    once = interface.conditions if one_for_all else ()
    build.add("serving_default", interface.inputs, interface.run, one_for_all=once)
    try:
        halves = conditioned(model, interface)
        if halves is not None:
            once = tuple(halves.weights) if one_for_all else ()
            build.add("generate", halves.generate_inputs, halves.generate)
            build.add("apply", halves.apply_inputs, halves.apply, one_for_all=once)
    except NotSeparableError as error:
        build.leave_out(("generate", "apply"), error)
    try:
        stream = stream_of(model, interface, required=streaming)
        if stream is not None:
            build.add_initial_state(stream.start)
            build.add("step", stream.inputs, stream.step)
    except NotStreamableError as error:
        if streaming:
            raise
        build.leave_out(("initial_state", "step"), error)
    return build


@contextlib.contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """A model that was tried goes on, and draws random numbers, as if it had not been."""
    states = model.non_trainable_variables
    values = [ops.copy(state) for state in states]
    try:
        yield
    finally:
        for state, value in zip(states, values, strict=True):
            state.assign(value)
