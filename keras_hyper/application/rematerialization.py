"""Layers that are created within `keras.RematScope`, with given weights."""

import functools
from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_hyper.application.given import current, giving
from keras_hyper.application.installing import installed
from keras_hyper.application.scope import WeightScope
from keras_hyper.typing import Tensor, Tensors


def rematerialized(
    layer: keras.Layer, call: Callable[..., Tensors], *args: Tensors, **kwargs: Tensors
) -> Callable[..., Tensors]:
    """Replaces `Layer.rematerialized_call` for layers that are given weights."""
    once: Callable[..., Tensors] = type(layer).rematerialized_call(layer, call, *args, **kwargs)
    if once is call or not current().below(layer):
        return once
    return functools.partial(_call, layer, call)


def _call(
    layer: keras.Layer, call: Callable[..., Tensors], *args: Tensors, **kwargs: Tensors
) -> Tensors:
    """Calls a layer such that the backward pass can run it again.

    The context has ended by then, so the function restores it. On TensorFlow, captured tensors get
    no gradient, so all tensors are arguments. State must not change twice, so its new values are
    outputs.
    """
    context = current()
    given = context.below(layer)
    served = {id(one.variable) for one in given if not one.added}
    stored = [v for v in layer.variables if id(v) not in served]
    if context.seeds is not None:
        stored.append(context.seeds.state)
    flat = keras.tree.flatten((args, kwargs))
    changed: list[keras.Variable] = []
    before: dict[int, Tensor] = {}

    def pure(
        weights: Sequence[Tensor], values: Sequence[Tensor], tensors: Sequence[Tensor]
    ) -> Tensors:
        rest, filled = iter(weights), iter(tensors)
        pairs = zip(stored, values, strict=True)
        own = [one.replace(one.kernel.with_tensors(rest)) for one in given]
        own_args, own_kwargs = keras.tree.pack_sequence_as(
            (args, kwargs), [next(filled) if ops.is_tensor(x) else x for x in flat]
        )
        with (
            installed(context.methods),
            giving(context.replace(own)),
            WeightScope(own, [(v, before.get(id(v), x)) for v, x in pairs]) as scope,
        ):
            outputs = call(*own_args, **own_kwargs)
        changed[:] = [variable for variable, _ in scope.updates()]
        new = [value for _, value in scope.updates()]
        return outputs, new, [ops.convert_to_tensor(loss) for loss in scope.losses]

    values = [ops.convert_to_tensor(variable.value) for variable in stored]
    outputs, new, losses = keras.remat(pure)(
        [tensor for one in given for tensor in one.kernel.tensors()],
        values,
        [x for x in flat if ops.is_tensor(x)],
    )
    # On TensorFlow and PyTorch, the assignments change tensors that the backward pass reads.
    now = {id(v): value for v, value in zip(stored, values, strict=True)}
    before.update({id(v): ops.copy(now[id(v)]) for v in changed if id(v) in now})
    for variable, value in zip(changed, new, strict=True):
        variable.assign(value)
    keras.Layer.add_loss(layer, losses)
    return outputs
