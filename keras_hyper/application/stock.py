"""Calling a layer as its class defines it, with other values of its variables."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_hyper.kernels import Full, Kernel


@dataclasses.dataclass(frozen=True)
class Given:
    """What one layer is given for a call.

    Attributes:
        variables: The layer's own variables, by name.
        every: All variables at the layer and below it, with seeds.
        generated: Weights in place of variables, by name.
        state: Values of variables that the layer may change, by name.
        write: Called with a name and the new value of what the layer changed.
        path: The layer's place in the model, for messages.
        installed: Returns the context within which the model's layers take what they are given.
        seeds: Draws seeds for a layer that is called once for each sample.
        added: Names of those of `generated` that a quantized layer adds to its own.
        samples: The number of samples.
        folded: The `id` of each layer whose inputs may have several rows for each sample.
    """

    variables: Mapping[str, keras.Variable]
    every: Sequence[keras.Variable]
    generated: Mapping[str, Kernel]
    state: Mapping[str, Kernel]
    write: Callable[[str, Any], None]
    path: str
    installed: Callable[[], contextlib.AbstractContextManager[None]]
    seeds: keras.random.SeedGenerator
    added: Set[str] = frozenset()
    samples: Any = None
    folded: Set[int] = frozenset()

    @property
    def plain(self) -> bool:
        """Whether all weights are tensors that fit the variables."""
        return all(kernel.whole for kernel in (*self.generated.values(), *self.state.values()))

    @property
    def batched(self) -> bool:
        """Whether a weight differs between samples."""
        return any(kernel.batched for kernel in (*self.generated.values(), *self.state.values()))

    def kernels(self) -> dict[str, Kernel]:
        """Returns all weights of the layer by name, given ones and its own."""
        given = {**self.generated, **self.state}
        own = {n: v for n, v in self.variables.items() if n not in given}
        return given | {name: Full(variable.value, batched=False) for name, variable in own.items()}


# What the layers of a model are given now, by the `id` of the layer.
_given: ContextVar[Mapping[int, Given] | None] = ContextVar(
    "keras_hyper_given_layers", default=None
)


def given_of(layer: keras.layers.Layer) -> Given | None:
    """Returns what a layer is given in this context, if anything."""
    return (_given.get() or {}).get(id(layer))


def all_given() -> Mapping[int, Given]:
    """Returns what all layers are given in this context, by their `id`."""
    return _given.get() or {}


def current_values(
    variables: Sequence[keras.Variable], replaced: Mapping[int, Any]
) -> list[tuple[keras.Variable, Any]]:
    """Returns variables with their values: those that are replaced or generated, or their own.

    Args:
        variables: The variables. One with a weight for each sample is left out.
        replaced: Values by the `id` of the variable.
    """
    generated = {
        id(given.variables[name]): kernel
        for given in all_given().values()
        for name, kernel in given.generated.items()
    }
    pairs = []
    for variable in variables:
        kernel = generated.get(id(variable))
        if id(variable) in replaced:
            pairs.append((variable, replaced[id(variable)]))
        elif kernel is None:
            pairs.append((variable, variable.value))
        elif not kernel.batched:
            pairs.append((variable, ops.cast(kernel.materialize(), variable.dtype)))
    return pairs


@contextlib.contextmanager
def giving(given: Mapping[int, Given]) -> Iterator[None]:
    """Gives weights to layers, by their `id`, within the context."""
    token = _given.set(given)
    try:
        yield
    finally:
        _given.reset(token)


def call_with(
    layer: keras.layers.Layer,
    values: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    method: str = "call",
) -> Any:
    """Calls a method of a layer's class with other values of its own variables.

    What the method changes in other variables is kept, and so are the losses that it adds.

    Args:
        layer: A layer that is given something.
        values: Tensors by the names of the variables.
        args: Arguments of the method.
        kwargs: Keyword arguments of the method.
        method: Name of the method.
    """
    outputs, changed, losses = run_with(layer, values, args, kwargs, method)
    given = given_of(layer)
    names = {} if given is None else {id(v): name for name, v in given.variables.items()}
    for variable, value in changed:
        if given is not None and names.get(id(variable)) in given.state:
            given.write(names[id(variable)], value)
        else:
            variable.assign(value)
    for loss in losses:
        layer.add_loss(loss)
    return outputs


def run_with(
    layer: keras.layers.Layer,
    values: Mapping[str, Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    method: str = "call",
    seeds: Mapping[int, Any] | None = None,
) -> tuple[Any, list[tuple[keras.Variable, Any]], list[Any]]:
    """Runs a method of a layer's class with other values of variables, and changes nothing.

    Args:
        layer: A layer that is given something.
        values: Tensors by the names of the variables.
        args: Arguments of the method.
        kwargs: Keyword arguments of the method.
        method: Name of the method.
        seeds: Values of the states of random generators, by the `id` of the variable.

    Returns:
        The outputs, pairs of the variables that the method changes and their new values, and
        the losses that it adds.
    """
    given = given_of(layer)
    if given is None:
        raise ValueError(f"Layer '{layer.name}' is given no weights.")
    state = {n: kernel.materialize() for n, kernel in given.state.items() if n not in values}
    replaced = {
        id(given.variables[name]): ops.cast(value, given.variables[name].dtype)
        for name, value in {**values, **state}.items()
    }
    replaced |= seeds or {}
    pairs = current_values(given.every, replaced)
    every = [v for v, _ in pairs]
    with keras.StatelessScope(pairs, collect_losses=True) as scope:
        before = [scope.get_current_value(v) for v in every]
        outputs = getattr(type(layer), method)(layer, *args, **kwargs)
        after = [scope.get_current_value(v) for v in every]
    changed = [(v, new) for v, old, new in zip(every, before, after, strict=True) if new is not old]
    generated = {id(given.variables[name]): name for name in given.generated}
    for variable, _ in changed:
        if id(variable) in generated:
            raise ValueError(
                f"Layer '{layer.name}' assigns to its weight "
                f"'{given.path}{generated[id(variable)]}' when it is called, and that weight is "
                "generated. Leave it out with `include`."
            )
    return outputs, changed, list(scope.losses)
