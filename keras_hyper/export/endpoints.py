"""Which endpoints a model has."""

from typing import Any

import keras

from keras_hyper.export.builder import Builder
from keras_hyper.export.conditioned import NotSeparableError, conditioned
from keras_hyper.export.folding import Folded
from keras_hyper.export.interface import interface_of
from keras_hyper.export.streaming import NotStreamableError, stream_of
from keras_hyper.export.trials import Trials, unchanged
from keras_hyper.utils.checks import check_model


def endpoints_of(
    model: keras.Model,
    *,
    fold: bool,
    streaming: bool | None,
    input_signature: Any,
    one_for_all: bool = True,
    batch_size: int | None = None,
) -> Builder:
    """Returns a builder with all endpoints of a model but those for XLA and for text.

    Args:
        model: A built model.
        fold: See `export_saved_model`, as the next two.
        streaming: See there.
        input_signature: See there.
        one_for_all: Whether one row of a condition, or of weights, may serve a batch.
        batch_size: The batch size to compare endpoints with the model at, None for two.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: See there.
    """
    check_model(model)
    with unchanged(model):
        return _found(model, fold, streaming, input_signature, one_for_all, batch_size)


def _found(
    model: keras.Model,
    fold: bool,
    streaming: bool | None,
    input_signature: Any,
    one_for_all: bool,
    batch_size: int | None,
) -> Builder:
    interface = interface_of(model, input_signature)
    build = Builder(model, Folded(model) if fold else None)
    trials = Trials(model, interface, batch_size)
    build.try_with(trials)
    once = interface.conditions if one_for_all else ()
    whole = [*trials.whole, *trials.one_for_all(once)]
    build.add("serving_default", interface.inputs, interface.run, whole, one_for_all=once)
    try:
        halves = conditioned(model, interface, trials)
        if halves is not None:
            once = tuple(halves.weights) if one_for_all else ()
            first, second = halves.trials(trials, one_for_all)
            build.add("generate", halves.generate_inputs, halves.generate, first)
            build.add("apply", halves.apply_inputs, halves.apply, second, one_for_all=once)
    except NotSeparableError as error:
        build.leave_out(("generate", "apply"), error)
    try:
        stream = stream_of(model, interface, trials, required=streaming)
        if stream is not None:
            build.add_initial_state(stream.start)
            build.add("step", stream.inputs, stream.step, stream.trials)
    except NotStreamableError as error:
        if streaming:
            raise
        build.leave_out(("initial_state", "step"), error)
    return build
