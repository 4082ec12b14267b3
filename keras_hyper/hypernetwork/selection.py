"""Which weights of a model are generated, from what they start, and by which generator."""

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
from keras_hyper.utils.graph import NamedWeight, named_weights, walk

# What says which weights are generated: a pattern of paths, a class of layers, or a function.
Item: TypeAlias = str | type[keras.Layer] | Callable[[str, keras.Variable], bool]
Include: TypeAlias = Item | Iterable[Item]
# One generator for all weights, or one for each pattern of paths.
Generators: TypeAlias = Generator | Mapping[str, Generator] | None
# What a weight starts at if it is not drawn: a number, a function of shape and dtype for one of
# two constants, or the variable itself if its start is not known.
Start: TypeAlias = float | Callable[..., Tensor] | keras.Variable | None

# How layers call the initializer of a weight where it is not `<weight>_initializer`.
_INITIALIZERS = {
    "kernel": "depthwise_initializer",
    "recurrent_kernel": "recurrent_initializer",
    "depthwise_kernel": "depthwise_initializer",
    "pointwise_kernel": "pointwise_initializer",
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """The weights of a model, by what becomes of them.

    Attributes:
        weights: All of them but `state`, in the order of the model.
        included: Those that are to be generated.
        reasons: Why the others are not, by path.
        state: What the model changes itself, such as moving averages.
        frozen: The paths of `weights` that are not trained.
        owners: The layer of each weight by path, in the order of the model.
    """

    weights: list[NamedWeight]
    included: list[NamedWeight]
    reasons: dict[str, str]
    state: list[NamedWeight]
    frozen: set[str]
    owners: dict[str, keras.Layer]


def as_include(include: Any) -> Include:
    """Returns `include` as one item or as a list of items, or raises if an item has no meaning."""
    if isinstance(include, str | type) or callable(include) or not isinstance(include, Iterable):
        return _item(include)
    items = [_item(item) for item in include]
    # The order of a set differs between processes, and files keep the list.
    return sorted(items, key=str) if isinstance(include, set | frozenset) else items


def _item(item: Any) -> Item:
    layer = isinstance(item, type) and issubclass(item, keras.Layer)
    function = callable(item) and not isinstance(item, type | keras.Layer)
    if isinstance(item, str) or layer or function:
        found: Item = item
        return found
    raise TypeError(
        "`include` must be a pattern of paths such as '*kernel', a layer type, a function of path "
        f"and variable, or a list of these. Received: include={item!r} (of type "
        f"{type(item).__name__})"
    )


def divide(
    model: keras.Layer, include: Include, composition: str, record: Config | None = None
) -> Parts:
    """Divides the weights of a model, or raises if `include` or `record` do not fit them.

    Args:
        model: The model, built.
        include: See `Hypernetwork`.
        composition: See `Hypernetwork`. What is frozen is not replaced.
        record: None, or what the configuration of a `Hypernetwork` says about the target: the
            `"paths"` of all weights, those that are `"generated"`, and those that were `"frozen"`.
    """
    if not model.weights:
        raise ValueError(f"The target '{model.name}' has no weights that could be generated.")
    thawed = _thawed(model)
    named = [_logical(weight) for weight in named_weights(model)]
    named = [w for w in named if not any(v is w.variable for v in of_quantization(w.layers[-1]))]
    # Quantized kernels are never trained, and yet are weights.
    thawed |= {id(w.variable) for w in named if w.logical_shape is not None}
    if not isinstance(model, keras.Model):
        # A layer alone has its own name in the paths, as `variable.path` has it.
        named = [dataclasses.replace(w, path=f"{model.name}/{w.path}") for w in named]
    if record is None:
        trained = {id(v) for v in model.trainable_weights}
        frozen = {w.path for w in named if id(w.variable) not in trained}
    else:
        named = _with_paths(named, record["paths"])
        frozen = set(record["frozen"])
    weights = [w for w in named if id(w.variable) in thawed]
    state = [w for w in named if id(w.variable) not in thawed]
    wanted = _wanted(weights, include) if record is None else set(record["generated"])
    reasons = {}
    for weight in weights:
        reason = _reason(weight, wanted, composition, record, frozen)
        if reason is None:
            continue
        short, advice = reason
        if advice and is_named(weight.path, include):
            raise ValueError(f"`include` names '{weight.path}', which {advice}")
        reasons[weight.path] = short
    included = [w for w in weights if w.path not in reasons]
    return Parts(weights, included, reasons, state, frozen, {w.path: w.layers[-1] for w in named})


def _reason(
    weight: NamedWeight,
    wanted: set[str],
    composition: str,
    record: Config | None,
    frozen: set[str],
) -> tuple[str, str] | None:
    """Returns why a weight is not generated, and what to say if it is named; None if it is."""
    factor, quantized = composition in ("multiply", "scale"), weight.logical_shape is not None
    if weight.path not in wanted:
        return "not included", ""
    if quantized and factor:
        return "quantized, which no factor changes", ""
    if is_quantized(weight.layers[-1]) and weight.variable.name.startswith("lora_"):
        return "of LoRA, in a quantized layer", ""
    if not quantized and not keras.backend.is_float_dtype(weight.variable.dtype):
        return f"of dtype {weight.variable.dtype}", ""
    if record is not None:
        return None
    if weight.variable.constraint is not None:
        return "has a constraint, which needs a stored weight", ""
    if composition == "replace" and weight.path in frozen:
        return (
            "frozen, and would be replaced",
            "is frozen, and composition='replace' would throw its values away. Thaw its layer, or "
            "use another composition.",
        )
    start = initialization_of(weight)[1] if factor else None
    if isinstance(start, float) and start == 0.0:
        return (
            "starts at zero, which no factor changes",
            f"starts at zero, and composition={composition!r} is a factor, which cannot change it. "
            "Leave it out, and it is trained itself; or use composition='add'.",
        )
    return None


def _logical(weight: NamedWeight) -> NamedWeight:
    """Returns a weight with the shape that it had before it was quantized."""
    shape = quantized_shapes(weight.layers[-1]).get(weight.variable.name)
    return dataclasses.replace(weight, logical_shape=shape)


def _with_paths(named: Sequence[NamedWeight], paths: Sequence[str]) -> list[NamedWeight]:
    """Returns the weights under the paths that they had before.

    Layers may carry the name of their model, which Keras makes up and a file keeps.
    """
    ours, theirs = (
        [path.rpartition("/")[2] for path in p] for p in ((w.path for w in named), paths)
    )
    if ours != theirs:
        raise ValueError(
            "The target is not the one that the configuration is of. Expected the weights: "
            f"{list(paths)}. Received: {[w.path for w in named]}"
        )
    return [dataclasses.replace(w, path=path) for w, path in zip(named, paths, strict=True)]


def is_named(path: str, include: Include) -> bool:
    """Whether `include` has the path itself, not only a pattern that it matches."""
    return any(isinstance(item, str) and item == path for item in _list(include))


def generator_of(weight: NamedWeight, generator: Generators) -> tuple[Generator | None, str]:
    """Returns the generator of a weight, and the pattern that it belongs to."""
    if not isinstance(generator, Mapping):
        return generator, "*"
    found = (pattern for pattern in generator if matches(weight.path, pattern))
    pattern = next(found, "")
    return generator.get(pattern), pattern


def matches(path: str, pattern: str) -> bool:
    """Whether a path is the pattern, lies below it, or matches it as a glob."""
    return path.startswith(f"{pattern}/") or fnmatch.fnmatchcase(path, pattern)


def initialization_of(weight: NamedWeight) -> tuple[Initializer, Start]:
    """Returns the initializer of a weight, and what it starts at, None if that is drawn."""
    layer, variable = weight.layers[-1], weight.variable
    name = variable.name
    found = (
        getattr(layer, f"{name}_initializer", None),
        getattr(layer, _INITIALIZERS.get(name, ""), None),
    )
    initializer = keras.initializers.get(next((i for i in found if i is not None), None))
    initializer = own_initializer(layer, name, initializer)
    if initializer is None and len(weight.shape) > 1:
        # What `add_weight` takes where it is given none.
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
    """Returns the bias of an LSTM, whose forget gate starts open."""
    rows = ops.full((4, (shape[0] or 0) // 4), constant, dtype=dtype)
    open_gate = ops.reshape(ops.arange(4) == 1, (4, 1))
    return ops.reshape(ops.where(open_gate, ops.ones_like(rows), rows), shape)


def _constant(initializer: keras.Initializer | None) -> float | None:
    if isinstance(initializer, keras.initializers.Constant):
        number = isinstance(initializer.value, int | float)
        return float(initializer.value) if number else None
    known = {keras.initializers.Zeros: 0.0, keras.initializers.Ones: 1.0}
    return known.get(type(initializer))


def _wanted(weights: Sequence[NamedWeight], include: Include) -> set[str]:
    wanted: set[str] = set()
    for item in _list(include):
        found = {weight.path for weight in weights if _includes(item, weight)}
        if not found:
            raise ValueError(
                f"`include` has {item!r}, which matches none of the weights of the target: "
                f"{', '.join(weight.path for weight in weights)}"
            )
        wanted |= found
    return wanted


def _list(include: Include) -> list[Item]:
    include = as_include(include)
    return include if isinstance(include, list) else [_item(include)]


def _includes(item: Item, weight: NamedWeight) -> bool:
    if isinstance(item, str):
        return matches(weight.path, item)
    if isinstance(item, type):
        return any(isinstance(layer, item) for layer in weight.layers)
    return bool(item(weight.path, weight.variable))


def _thawed(model: keras.Layer) -> set[int]:
    """Returns the ids of the weights that are trained where nothing is frozen."""
    # Parents come first: what they freeze, a child may thaw again.
    flags = [(x, x.trainable) for x in (*walk(model), *model.weights)]
    # An assignment that changes nothing may reach no sublayer, so change it.
    model.trainable = False
    model.trainable = True
    trained = {id(v) for v in model.trainable_weights}
    for x, flag in flags:
        if x.trainable != flag:
            x.trainable = flag
    return trained
