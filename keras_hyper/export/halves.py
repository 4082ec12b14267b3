"""Generating weights and using them as two calls, for a server that keeps weights."""

import math
from collections.abc import Callable, Mapping, Sequence

import keras
from keras import ops

from keras_hyper.export.agreement import alike
from keras_hyper.export.dependence import needed
from keras_hyper.export.interface import (
    Interface,
    Named,
    Specs,
    UnavailableError,
    batch_of,
    widened,
)
from keras_hyper.export.trials import TRIED, Trial, Trials
from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork
from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import walk
from keras_hyper.utils.inputs import clean
from keras_hyper.weights import FoundWeight, GeneratedWeight, find_weights, kernels_of
from keras_hyper.weights.scopes import override

Weights = Mapping[str, Tensor | Mapping[str, Tensor]]
# From inputs, and whether to return factors, to weights by the names that a client uses.
Generate = Callable[[Named, bool], Weights]
Parts = tuple[Mapping[str, GeneratedWeight], Generate, Sequence[str]]


class Halves:
    """A conditioned model as two functions.

    Args:
        trials: Inputs and outputs of the model, to compare the halves with.
        weights: The generated weights by the names that a client uses.
        generate: The first half.
        conditions: Inputs that are conditions themselves.
        factored: Whether weights are taken and returned as factors.

    Attributes:
        generate_inputs: What the weights depend on.
        apply_inputs: What else the outputs depend on, and the weights.
        weights: The weights, or their factors, with a row for each sample.
        generated: Inputs and expected outputs of `generate`.
        applied: Those of `apply`.
    """

    def __init__(
        self,
        trials: Trials,
        weights: Mapping[str, GeneratedWeight],
        generate: Generate,
        conditions: Sequence[str],
        factored: bool,
    ) -> None:
        self._interface, inputs = trials.interface, trials.interface.inputs
        self._generated, self._generate, self._factored = weights, generate, factored
        made = generate(trials.drawn(inputs), factored)
        self._parts = {n: list(v) if isinstance(v, Mapping) else [] for n, v in made.items()}
        self.weights: Specs = {
            name: batch_of(x.shape[1:], keras.backend.standardize_dtype(x.dtype))
            for name, x in _flat(made).items()
        }
        if set(self.weights) & set(inputs):
            raise UnavailableError(
                f"Inputs have the names of weights: {sorted(set(self.weights) & set(inputs))}."
            )
        self.generate_inputs = {n: inputs[n] for n in needed(self.generate, inputs, trials)}
        every = {**inputs, **self.weights}
        self.apply_inputs = {n: every[n] for n in needed(self.apply, every, trials)}
        features = [name for name in conditions if name in self.apply_inputs]
        if features:
            raise UnavailableError(
                "The outputs depend on a condition in another way than through generated "
                f"weights: {features}."
            )
        self.generated: list[Trial] = []
        self.applied: list[Trial] = []
        for trial in trials.whole:
            given = {name: trial.inputs[name] for name in self.generate_inputs}
            self.generated.append(trials.trial(given, self.generate))
            given = {**trial.inputs, **self.generated[-1].outputs}
            given = {name: given[name] for name in self.apply_inputs}
            self.applied.append(Trial(given, trial.outputs))
            outputs = trials.trial(given, self.apply).outputs
            # Layers that are called twice, with two conditions, have more than one set of weights.
            for name, value in () if trials.draws else trial.outputs.items():
                if not alike(trials.model, outputs[name], value):
                    raise UnavailableError(
                        f"Output '{name}' is another with weights that are generated apart, as if "
                        "a conditioned layer were called with two conditions."
                    )

    @property
    def numbers(self) -> int:
        """How many numbers the weights of one sample have."""
        return sum(math.prod(spec.shape[1:]) for spec in self.weights.values())

    def generate(self, tensors: Named) -> Named:
        """Returns weights from inputs."""
        return _flat(self._generate(_completed(tensors, self._interface.inputs), self._factored))

    def apply(self, tensors: Named) -> Named:
        """Returns outputs from inputs and weights."""
        values = {
            name: {part: tensors[f"{name}_{part}"] for part in parts} if parts else tensors[name]
            for name, parts in self._parts.items()
        }
        kernels = kernels_of(self._generated, values)
        with override({id(self._generated[name]): kernel for name, kernel in kernels.items()}):
            return self._interface.run(_completed(tensors, self._interface.inputs))


def halves_of(trials: Trials) -> list[Halves]:
    """Returns the halves of a model, and those that use factors if these are fewer numbers.

    The list is empty if the model has no condition.
    """
    model, interface = trials.model, trials.interface
    if isinstance(model, Hypernetwork):
        parts = _of_hypernetwork(model, interface) if interface.conditions else None
    else:
        found = _conditioned_weights(model)
        parts = _of_layers(model, interface, found) if found else None
    if parts is None:
        return []
    whole, factors = (Halves(trials, *parts, factored=f) for f in (False, True))
    return [whole, factors] if factors.numbers < whole.numbers else [whole]


def _of_hypernetwork(model: Hypernetwork, interface: Interface) -> Parts:
    """Returns the weights of a `Hypernetwork`, what generates them, and its conditions."""
    if model.state_per_task:
        raise UnavailableError("With state_per_task=True the outputs depend on the task, too.")
    paths = {clean(path): path for path in model.generated_weights}
    if len(paths) < len(model.generated_weights):
        raise UnavailableError(f"Two weights have the same name for a client: {sorted(paths)}.")
    conditions = interface.conditions

    def generate(tensors: Named, factored: bool) -> Weights:
        values = [tensors[name] for name in conditions]
        made = model.generate(values[0] if len(values) == 1 else values, factored=factored)
        return {name: made[path] for name, path in paths.items()}

    return {n: model.generated_weights[path] for n, path in paths.items()}, generate, conditions


def _of_layers(model: keras.Model, interface: Interface, found: list[FoundWeight]) -> Parts:
    """Returns the same for a functional model with conditioned hyper layers.

    Their conditions are outputs of a part of the model.
    """
    if getattr(model, "inputs", None) is None:
        raise UnavailableError(f"Model '{model.name}' is not functional.")
    outside = {each.owner.name for each in found if each.owner not in model.layers}
    if outside:
        raise UnavailableError(f"Layers {sorted(outside)} are not layers of the model itself.")
    weights = {clean(f"{each.owner.name}_{each.path}"): each.weight for each in found}
    of_weights = [_condition_of(each) for each in found]
    places = {id(c): i for i, c in enumerate({id(c): c for c in of_weights}.values())}
    # From the inputs of the model: a graph from other tensors would add nodes to its layers.
    inputs = keras.tree.flatten(model.inputs)
    context = keras.Model(inputs, list({id(c): c for c in of_weights}.values()))

    def generate(tensors: Named, factored: bool) -> Weights:
        given = context([tensors[name] for name in interface.inputs], training=False)
        given = given if isinstance(given, list) else [given]
        kernels = [
            (name, weight.kernel(given[places[id(c)]]))
            for (name, weight), c in zip(weights.items(), of_weights, strict=True)
        ]
        return {n: k.factors() if factored else k.materialize() for n, k in kernels}

    named = zip(interface.inputs, inputs, strict=True)
    return weights, generate, [name for name, x in named if id(x) in places]


def _conditioned_weights(model: keras.Model) -> list[FoundWeight]:
    """Returns the weights of layers that depend on a condition."""
    layers = list(walk(model))
    fixed = {id(layer.hypernetwork) for layer in layers if isinstance(layer, HypernetworkAt)}
    for layer in layers:
        inner = isinstance(layer, Hypernetwork) and id(layer) not in fixed
        if inner and layer.condition is not None and layer.condition.takes_values:
            raise UnavailableError(
                f"Hypernetwork '{layer.name}' is a part of the model. Export it by itself."
            )
    found = [each for each in find_weights(model) if each.weight.conditioned]
    return [each for each in found if not isinstance(each.owner, Hypernetwork)]


def _condition_of(found: FoundWeight) -> keras.KerasTensor:
    """Returns the symbolic condition of a weight: the last tensor that its owner is called with."""
    name = found.owner.name
    try:
        tensors = keras.tree.flatten(found.owner.input)
    except (AttributeError, ValueError) as error:
        raise UnavailableError(f"Layer '{name}' has no symbolic condition.") from error
    condition = tensors[-1]
    if len(tensors) < 2 or len(condition.shape) != 2:
        raise UnavailableError(f"The condition of layer '{name}' is no tensor with rows.")
    if condition.shape[-1] != found.weight.condition_dim:
        raise UnavailableError(f"The last argument of layer '{name}' is not its condition.")
    return condition


def _flat(values: Weights) -> Named:
    """Returns weights and factors by name, in single precision where they are in half."""
    flat: Named = {}
    for name, value in values.items():
        parts = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"{name}_{part}" if part else name: widened(x) for part, x in parts.items()}
    return flat


def _completed(tensors: Named, specs: Specs) -> Named:
    """Returns tensors by name, with zeros for what no output depends on."""
    # Not from weights, which may be one row for all. JAX has sorted the names.
    name = next((name for name in specs if name in tensors), next(iter(tensors)))
    batch = ops.shape(tensors[name])[0]
    shapes = {n: [TRIED if d is None else d for d in s.shape[1:]] for n, s in specs.items()}
    return {
        name: tensors[name]
        if name in tensors
        else ops.zeros((batch, *shapes[name]), dtype=spec.dtype)
        for name, spec in specs.items()
    }
