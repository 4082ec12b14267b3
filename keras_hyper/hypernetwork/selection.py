"""Selection of the generated weights of a model, their initial values and generators."""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_hyper.application import is_quantized, of_quantization, own_initializer, quantized_shapes
from keras_hyper.generators import Generator
from keras_hyper.initializers import weight_std
from keras_hyper.typing import Config, DType, Initializer, Shape, Tensor
from keras_hyper.utils.checks import wrong_type
from keras_hyper.utils.graph import NamedWeight, is_of_lora, named_weights, walk

# Selects weights: a path pattern, a layer class, or a function.
Item: TypeAlias = str | type[keras.Layer] | Callable[[str, keras.Variable], bool]
Include: TypeAlias = Item | Iterable[Item]
# One generator for all weights, or one for each path pattern.
Generators: TypeAlias = Generator | Mapping[str, Generator] | None
# Known initial value of a weight: a constant, a function of shape and dtype, or the variable
# itself. None for a random value.
Start: TypeAlias = float | Callable[..., Tensor] | keras.Variable | None

# Prefix of the initializer attribute of a weight if it is not the name of the weight.
_INITIALIZERS = {
    "kernel": "depthwise_initializer",
    "recurrent_kernel": "recurrent_initializer",
    "depthwise_kernel": "depthwise_initializer",
    "pointwise_kernel": "pointwise_initializer",
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """The weights of a model by their role.

    Attributes:
        weights: All weights but `state`, in the order of the model.
        included: The weights to generate.
        reasons: Why each of the other `weights` is not generated, by path.
        state: Variables that the model updates itself, such as moving averages.
        frozen: The paths of the frozen `weights`.
        owners: The layer of each weight by path, in the order of the model.
    """

    weights: list[NamedWeight]
    included: list[NamedWeight]
    reasons: dict[str, str]
    state: list[NamedWeight]
    frozen: set[str]
    owners: dict[str, keras.Layer]


def as_include(include: Any) -> Include:
    """Returns `include` as one item or a list of items, or raises if an item is invalid."""
    single = isinstance(include, str | type) or callable(include)
    single = single or not isinstance(include, Iterable)
    items: list[Item] = [include] if single else list(include)
    for item in items:
        layer = isinstance(item, type) and issubclass(item, keras.Layer)
        function = callable(item) and not isinstance(item, type | keras.Layer)
        if not isinstance(item, str) and not layer and not function:
            expected = "a path pattern such as '*kernel', a layer class, a function of path and "
            raise wrong_type("include", item, f"{expected}variable, or a list of these")
    # The order of a set differs between processes, and files keep the list.
    items = sorted(items, key=str) if isinstance(include, set | frozenset) else items
    return items[0] if single else items


def items_of(include: Any) -> list[Item]:
    """Returns the items of a validated `include`."""
    return include if isinstance(include, list) else [include]


def divide(
    model: keras.Layer, include: Include, composition: str, record: Config | None = None
) -> Parts:
    """Divides the weights of a built model by their role.

    Args:
        model: The model.
        include: As returned by `as_include`.
        composition: See `Hypernetwork`. With `"replace"`, frozen weights are not generated.
        record: None, or the record of the target in the configuration of a `Hypernetwork`: the
            `"paths"` of all weights, and those that were `"generated"` and `"frozen"`.

    Raises:
        ValueError: If `include` or `record` do not fit the weights.
    """
    if not model.weights:
        raise ValueError(f"The target '{model.name}' has no weights to generate.")
    trainable = _trainable_if_unfrozen(model)
    named = [
        dataclasses.replace(w, logical_shape=quantized_shapes(w.layers[-1]).get(w.variable.name))
        for w in named_weights(model)
        if not any(v is w.variable for v in of_quantization(w.layers[-1]))
    ]
    # Quantized kernels are never trainable, but they are not state.
    trainable |= {id(w.variable) for w in named if w.logical_shape is not None}
    if not isinstance(model, keras.Model):
        # A single layer has its own name in the paths, as in `variable.path`.
        named = [dataclasses.replace(w, path=f"{model.name}/{w.path}") for w in named]
    if record is None:
        trained = {id(v) for v in model.trainable_weights}
        frozen = {w.path for w in named if id(w.variable) not in trained}
    else:
        named = _with_paths(named, record["paths"])
        frozen = set(record["frozen"])
    weights = [w for w in named if id(w.variable) in trainable]
    state = [w for w in named if id(w.variable) not in trainable]
    wanted = _wanted(weights, include) if record is None else set(record["generated"])
    reasons = {}
    for weight in weights:
        reason, advice = "not included", ""
        if weight.path in wanted:
            reason, advice = _reason(weight, composition, frozen if record is None else None)
        if advice and is_named(weight.path, include):
            raise ValueError(f"`include` names '{weight.path}', which {reason}. {advice}")
        if reason:
            reasons[weight.path] = reason
    included = [w for w in weights if w.path not in reasons]
    return Parts(weights, included, reasons, state, frozen, {w.path: w.layers[-1] for w in named})


def _reason(weight: NamedWeight, composition: str, frozen: set[str] | None) -> tuple[str, str]:
    """Returns why a weight cannot be generated, and advice if naming it is an error.

    Both are empty if it can be generated. `frozen` is None for a model from a file, whose weights
    were selected before.
    """
    factor, variable = composition in ("multiply", "scale"), weight.variable
    if is_quantized(weight.layers[-1]) and is_of_lora(variable):
        return "of LoRA, in a quantized layer", ""
    if weight.logical_shape is not None and factor:
        return f"quantized, which composition={composition!r} does not support", ""
    if weight.logical_shape is None and not keras.backend.is_float_dtype(variable.dtype):
        return f"of dtype {variable.dtype}", ""
    if frozen is None:
        return "", ""
    if variable.constraint is not None:
        return "has a constraint, which needs a stored weight", ""
    if composition == "replace" and weight.path in frozen:
        return (
            "is frozen, and composition='replace' would discard its value",
            "Unfreeze its layer, or use another composition.",
        )
    start = initialization_of(weight)[1] if factor else None
    if isinstance(start, float) and start == 0.0:
        return (
            f"starts at zero, which composition={composition!r} cannot change",
            "Leave it out to train it as an ordinary weight, or use composition='add'.",
        )
    return "", ""


def _with_paths(named: Sequence[NamedWeight], paths: Sequence[str]) -> list[NamedWeight]:
    """Returns the weights under their earlier paths.

    Layer names may contain an auto-generated model name, which differs between processes.
    """
    ours, theirs = (
        [path.rpartition("/")[2] for path in p] for p in ((w.path for w in named), paths)
    )
    if ours != theirs:
        raise ValueError(
            "The target does not match the configuration. Expected the weights: "
            f"{list(paths)}. Received: {[w.path for w in named]}"
        )
    return [dataclasses.replace(w, path=path) for w, path in zip(named, paths, strict=True)]


def is_named(path: str, include: Include) -> bool:
    """Whether `include` contains the path itself, not only a pattern that matches it."""
    return any(isinstance(item, str) and item == path for item in items_of(include))


def generator_of(weight: NamedWeight, generator: Generators) -> tuple[Generator | None, str]:
    """Returns the generator of a weight, and the pattern that selects it."""
    if not isinstance(generator, Mapping):
        return generator, "*"
    pattern = next((pattern for pattern in generator if _matches(weight.path, pattern)), "")
    return generator.get(pattern), pattern


def _matches(path: str, pattern: str) -> bool:
    """Whether a path is the pattern, lies below it, or matches it as a glob."""
    return path.startswith(f"{pattern}/") or fnmatch.fnmatchcase(path, pattern)


def initialization_of(weight: NamedWeight) -> tuple[Initializer, Start]:
    """Returns the initializer of a weight and its known initial value, None if it is random."""
    layer, variable = weight.layers[-1], weight.variable
    name = variable.name
    found = (
        getattr(layer, f"{name}_initializer", None),
        getattr(layer, _INITIALIZERS.get(name, ""), None),
    )
    initializer = keras.initializers.get(next((i for i in found if i is not None), None))
    initializer = own_initializer(layer, name, initializer)
    if initializer is None and len(weight.shape) > 1:
        # The default of `add_weight`.
        return keras.initializers.GlorotUniform(), None
    if initializer is not None and weight_std(initializer, weight.shape):
        return initializer, None
    constant = _constant(initializer)
    if constant is None:
        return initializer or "zeros", variable
    if name == "bias" and getattr(layer, "unit_forget_bias", False):
        return initializer, functools.partial(_forget_bias, constant)
    return initializer, constant


def _forget_bias(constant: float, shape: Shape, dtype: DType = None) -> Tensor:
    """Returns the initial bias of an LSTM with `unit_forget_bias`."""
    rows = ops.full((4, (shape[0] or 0) // 4), constant, dtype=dtype)
    forget = ops.reshape(ops.arange(4) == 1, (4, 1))
    return ops.reshape(ops.where(forget, ops.ones_like(rows), rows), shape)


def _constant(initializer: keras.Initializer | None) -> float | None:
    if isinstance(initializer, keras.initializers.Constant):
        number = isinstance(initializer.value, int | float)
        return float(initializer.value) if number else None
    known = {keras.initializers.Zeros: 0.0, keras.initializers.Ones: 1.0}
    return known.get(type(initializer))


def _wanted(weights: Sequence[NamedWeight], include: Include) -> set[str]:
    """Returns the paths that `include` selects, or raises if an item selects none."""
    wanted: set[str] = set()
    for item in items_of(include):
        found = {weight.path for weight in weights if _includes(item, weight)}
        if not found:
            raise ValueError(
                f"`include` contains {item!r}, which matches no weight of the target: "
                f"{', '.join(weight.path for weight in weights)}"
            )
        wanted |= found
    return wanted


def _includes(item: Item, weight: NamedWeight) -> bool:
    if isinstance(item, str):
        return _matches(weight.path, item)
    if isinstance(item, type):
        return any(isinstance(layer, item) for layer in weight.layers)
    return bool(item(weight.path, weight.variable))


def _trainable_if_unfrozen(model: keras.Layer) -> set[int]:
    """Returns the ids of the weights that would be trainable if no layer was frozen."""
    # Parents come first: a child may be trainable in a frozen parent.
    flags = [(x, x.trainable) for x in (*walk(model), *model.weights)]
    # An assignment that changes nothing may not reach all sublayers.
    model.trainable = False
    model.trainable = True
    trainable = {id(v) for v in model.trainable_weights}
    for x, flag in flags:
        if x.trainable != flag:
            x.trainable = flag
    return trainable
