"""Layers made within `keras.RematScope`, with given weights."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.application.stock import Given, all_given, current_values, giving
from keras_hyper.kernels import Kernel
from keras_hyper.utils.graph import walk


def rematerialized(
    layer: keras.layers.Layer, call: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Returns what `Layer.rematerialized_call` does, for a call that is given weights.

    Args:
        layer: The layer.
        call: Its `call`.
        *args: Arguments of the call.
        **kwargs: Keyword arguments of the call.
    """
    once = type(layer).rematerialized_call(layer, call, *args, **kwargs)
    inside = {id(child) for child in walk(layer)}
    given = {key: value for key, value in all_given().items() if key in inside}
    return once if once is call or not given else functools.partial(_call, layer, call, given)


def _call(
    layer: keras.layers.Layer,
    call: Callable[..., Any],
    given: Mapping[int, Given],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Calls a layer so that the backward pass can run it again.

    By then this context is over, and on TensorFlow captured tensors get no gradient: all
    tensors are arguments. State must not change twice: its new values are outputs.
    """
    kernels = {
        (key, kind, name): kernel
        for key, value in given.items()
        for kind in ("generated", "state")
        for name, kernel in getattr(value, kind).items()
    }
    outer, current = all_given(), current_values(layer.variables, {})
    variables = [v for v, _ in current]
    flat = keras.tree.flatten((args, kwargs))
    changed: list[Callable[[Any], Any]] = []

    def pure(weights: Sequence[Any], values: Sequence[Any], tensors: Sequence[Any]) -> Any:
        changed.clear()
        written: list[Any] = []
        rest, filled = iter(weights), iter(tensors)
        every = {place: kernel.with_tensors(rest) for place, kernel in kernels.items()}
        own_args, own_kwargs = keras.tree.pack_sequence_as(
            (args, kwargs), [next(filled) if ops.is_tensor(x) else x for x in flat]
        )

        def write_for(value: Given) -> Callable[[str, Any], None]:
            def write(name: str, new: Any) -> None:
                changed.append(functools.partial(value.write, name))
                written.append(new)

            return write

        inner = {key: _given(key, value, every, write_for(value)) for key, value in given.items()}
        with contextlib.ExitStack() as stack:
            for installed in {id(v.installed): v.installed for v in given.values()}.values():
                stack.enter_context(installed())
            stack.enter_context(giving({**outer, **inner}))
            mapping = list(zip(variables, values, strict=True))
            scope = stack.enter_context(keras.StatelessScope(mapping, collect_losses=True))
            before = [scope.get_current_value(v) for v in variables]
            outputs = call(*own_args, **own_kwargs)
            after = [scope.get_current_value(v) for v in variables]
        for variable, old, new in zip(variables, before, after, strict=True):
            if new is not old:
                changed.append(variable.assign)
                written.append(new)
        return outputs, written, [ops.convert_to_tensor(loss) for loss in scope.losses]

    outputs, written, losses = keras.remat(pure)(
        [tensor for kernel in kernels.values() for tensor in kernel.tensors()],
        [ops.convert_to_tensor(value) for _, value in current],
        [x for x in flat if ops.is_tensor(x)],
    )
    for write, value in zip(changed, written, strict=True):
        write(value)
    for loss in losses:
        layer.add_loss(loss)
    return outputs


def _given(
    key: int,
    value: Given,
    kernels: Mapping[Any, Kernel],
    write: Callable[[str, Any], None],
) -> Given:
    return dataclasses.replace(
        value,
        generated={n: kernels[key, "generated", n] for n in value.generated},
        state={n: kernels[key, "state", n] for n in value.state},
        write=write,
    )
