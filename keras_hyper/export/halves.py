"""Generating weights and using them in two calls, for servers that keep weights."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras
from keras import ops

from keras_hyper.export.agreement import alike
from keras_hyper.export.interface import Function, Named, Trial, UnavailableError, batch_of, widened
from keras_hyper.export.tracing import needed
from keras_hyper.export.trials import TRIED, Trials
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork
from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import walk
from keras_hyper.utils.inputs import clean
from keras_hyper.weights import FoundWeight, GeneratedWeight, find_weights, kernels_of
from keras_hyper.weights.scopes import override


@dataclasses.dataclass(frozen=True)
class _Conditioned:
    """The conditioned weights of a model.

    Attributes:
        weights: Generated weights by their names for a client.
        generate: From inputs, and whether to return factors, to tensors or dicts of factors.
        conditions: Names of the inputs that are conditions themselves.
    """

    weights: Mapping[str, GeneratedWeight]
    generate: Callable[[Named, bool], Mapping[str, Tensor]]
    conditions: Sequence[str]


def halves_of(trials: Trials, factored: bool) -> list[Function]:
    """Returns `generate` and `apply` of a conditioned model, or an empty list.

    If `factored`, they exchange factors. The list is empty unless factors have fewer parameters.
    """
    model, specs = trials.model, trials.interface.inputs
    divide = _of_hypernetwork if isinstance(model, Hypernetwork) else _of_layers
    found = divide(model, trials.interface)
    if found is None:
        return []
    made = found.generate(trials.drawn(specs), factored)
    parts = {name: list(value) if factored else [] for name, value in made.items()}

    def flat(values: Mapping[str, Tensor]) -> Named:
        if factored:
            values = {f"{n}_{part}": values[n][part] for n in parts for part in parts[n]}
        return {name: widened(value) for name, value in values.items()}

    def generate(tensors: Named) -> Named:
        return flat(found.generate(_completed(tensors, trials.interface), factored))

    def apply(tensors: Named) -> Named:
        values = {}
        for name in parts:
            factors = {part: tensors[f"{name}_{part}"] for part in parts[name]}
            values[name] = factors or tensors[name]
        kernels = kernels_of(found.weights, values)
        with override({id(found.weights[name]): kernel for name, kernel in kernels.items()}):
            return trials.interface.run(_completed(tensors, trials.interface))

    weights = {name: batch_of(x.shape[1:], x.dtype) for name, x in flat(made).items()}
    size = sum(math.prod(spec.shape[1:]) for spec in weights.values())
    if factored and size >= sum(math.prod(w.weight_shape) for w in found.weights.values()):
        return []
    if both := sorted(set(weights) & set(specs)):
        raise UnavailableError(f"Inputs have the names of weights: {both}.")
    generated = {name: specs[name] for name in needed(generate, specs, trials)}
    every = {**specs, **weights}
    applied = {name: every[name] for name in needed(apply, every, trials)}
    if features := [name for name in found.conditions if name in applied]:
        raise UnavailableError(
            "The outputs depend on a condition in another way than through generated weights: "
            f"{features}."
        )
    pairs = []
    for trial in trials.interface.trials:
        first = trials.trial({name: trial.inputs[name] for name in generated}, generate)
        given = {**trial.inputs, **first.outputs}
        second = trials.trial({name: given[name] for name in applied}, apply)
        for name, value in () if trials.draws else trial.outputs.items():
            if not alike(model, second.outputs[name], value):
                raise UnavailableError(
                    f"Output '{name}' differs if `generate` and `apply` are called in place of the "
                    "model, as if a conditioned layer were called with two conditions."
                )
        pairs.append((first, Trial(second.inputs, trial.outputs)))
    return [
        Function(generated, generate, trials=[first for first, _ in pairs]),
        Function(applied, apply, list(weights), [second for _, second in pairs]),
    ]


def _of_hypernetwork(model: Hypernetwork, interface: Function) -> _Conditioned | None:
    conditions = interface.shared
    if not conditions:
        return None
    if model.state_per_task:
        raise UnavailableError("With state_per_task=True the outputs depend on the task, too.")
    paths = {clean(path): path for path in model.generated_weights}
    if len(paths) < len(model.generated_weights):
        raise UnavailableError(f"Two weights have the same name for a client: {sorted(paths)}.")

    def generate(tensors: Named, factored: bool) -> Mapping[str, Tensor]:
        values = [tensors[name] for name in conditions]
        made = model.generate(values[0] if len(values) == 1 else values, factored=factored)
        return {name: made[path] for name, path in paths.items()}

    weights = {name: model.generated_weights[path] for name, path in paths.items()}
    return _Conditioned(weights, generate, conditions)


def _of_layers(model: keras.Model, interface: Function) -> _Conditioned | None:
    """Finds the conditioned layers of a functional model, and the part that makes conditions."""
    layers, specs = list(walk(model)), interface.inputs
    fixed = {id(layer.hypernetwork) for layer in layers if isinstance(layer, HypernetworkAt)}
    for layer in layers:
        inner = isinstance(layer, Hypernetwork) and id(layer) not in fixed
        if inner and layer.condition is not None and layer.condition.takes_values:
            raise UnavailableError(
                f"Hypernetwork '{layer.name}' is a part of the model. Export it by itself."
            )
    found = [each for each in find_weights(model) if each.weight.conditioned]
    found = [each for each in found if not isinstance(each.owner, Hypernetwork)]
    if not found:
        return None
    if getattr(model, "inputs", None) is None:
        raise UnavailableError(f"Model '{model.name}' is not functional.")
    outside = {each.owner.name for each in found if each.owner not in model.layers}
    if outside:
        raise UnavailableError(f"Layers {sorted(outside)} are not layers of the model itself.")
    weights = {clean(f"{each.owner.name}_{each.path}"): each.weight for each in found}
    of_weights = [_condition_of(each) for each in found]
    conditions = {id(condition): condition for condition in of_weights}
    # From the inputs of the model: a graph from other tensors would add nodes to its layers.
    inputs = keras.tree.flatten(model.inputs)
    context = keras.Model(inputs, list(conditions.values()))

    def generate(tensors: Named, factored: bool) -> Mapping[str, Tensor]:
        outputs = context([tensors[name] for name in specs], training=False)
        given = dict(zip(conditions, keras.tree.flatten(outputs), strict=True))
        made = {}
        for (name, weight), condition in zip(weights.items(), of_weights, strict=True):
            kernel = weight.kernel(given[id(condition)])
            made[name] = kernel.factors() if factored else kernel.materialize()
        return made

    named = zip(specs, inputs, strict=True)
    return _Conditioned(weights, generate, [name for name, x in named if id(x) in conditions])


def _condition_of(found: FoundWeight) -> keras.KerasTensor:
    """Returns the symbolic condition of a weight: the last tensor that its owner is called with."""
    name = found.owner.name
    try:
        tensors = keras.tree.flatten(found.owner.input)
    except (AttributeError, ValueError) as error:
        raise UnavailableError(f"Layer '{name}' has no symbolic condition.") from error
    condition = tensors[-1]
    if len(tensors) < 2 or tuple(condition.shape[1:]) != (found.weight.condition_dim,):
        raise UnavailableError(
            f"The last argument of layer '{name}' is not a batch of conditions for its weights."
        )
    return condition


def _completed(tensors: Named, interface: Function) -> Named:
    """Returns the inputs of the model, with zeros where no output depends on them."""
    specs = interface.inputs
    # Weights may have one row for all samples. JAX sorts the names.
    first = next((name for name in specs if name in tensors), next(iter(tensors)))
    batch = ops.shape(tensors[first])[0]
    completed = {}
    for name, spec in specs.items():
        if name in tensors:
            completed[name] = tensors[name]
        else:
            shape = [TRIED if size is None else size for size in spec.shape[1:]]
            completed[name] = ops.zeros((batch, *shape), dtype=spec.dtype)
    return completed
