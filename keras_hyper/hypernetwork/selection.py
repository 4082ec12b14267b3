"""Which weights of a model are generated, from what they start, and by which generator."""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_hyper.application import of_quantization, own_initializer, quantized_shapes
from keras_hyper.generators import Generator
from keras_hyper.initializers import weight_std
from keras_hyper.utils.graph import NamedWeight, named_weights, walk

# What says which weights are generated: a pattern of paths, a class of layers, or a function.
Item: TypeAlias = str | type[keras.Layer] | Callable[[str, keras.Variable], bool]
Include: TypeAlias = Item | Iterable[Item]

# How layers call the initializer of a weight where it is not `<weight>_initializer`.
_INITIALIZERS = {
    "kernel": ("depthwise_initializer",),
    "recurrent_kernel": ("recurrent_initializer",),
    "depthwise_kernel": ("depthwise_initializer",),
    "pointwise_kernel": ("pointwise_initializer",),
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
        paths: Those of all weights, in the order of the model.
    """

    weights: list[NamedWeight]
    included: list[NamedWeight]
    reasons: dict[str, str]
    state: list[NamedWeight]
    frozen: set[str]
    paths: list[str]


def as_include(include: Any) -> Any:
    """Returns `include` as one item or as a list of items, or raises if an item has no meaning.

    Args:
        include: A pattern, a layer type, a function, or any iterable of these.
    """
    if isinstance(include, str | type) or callable(include) or not isinstance(include, Iterable):
        return _item(include)
    items = [_item(item) for item in include]
    # The order of a set differs between processes, and files keep the list.
    return sorted(items, key=str) if isinstance(include, set | frozenset) else items


def _item(item: Any) -> Any:
    layer = isinstance(item, type) and issubclass(item, keras.layers.Layer)
    function = callable(item) and not isinstance(item, type | keras.layers.Layer)
    if isinstance(item, str) or layer or function:
        return item
    raise TypeError(
        "`include` must be a pattern of paths such as '*kernel', a layer type, a function of path "
        f"and variable, or a list of these. Received: include={item!r} (of type "
        f"{type(item).__name__})"
    )


def divide(
    model: keras.Model, include: Any, composition: str, record: Mapping[str, Any] | None = None
) -> Parts:
    """Divides the weights of a model.

    Args:
        model: The model, built.
        include: See `Hypernetwork`.
        composition: See `Hypernetwork`. What is frozen is not replaced.
        record: What `Hypernetwork.get_config` wrote about the target, if it was
            divided before: the `"paths"` of all weights, those that are `"generated"`
            and those that were `"frozen"`.

    Raises:
        ValueError: If a pattern or a layer type matches nothing, or if `record` is of
            another model.
    """
    if not model.weights:
        raise ValueError(f"The target '{model.name}' has no weights that could be generated.")
    thawed = _thawed(model)
    named = [_logical(w) for w in named_weights(model) if not _is_of_quantization(w)]
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
    included: list[NamedWeight] = []
    reasons: dict[str, str] = {}
    for weight in weights:
        if weight.path not in wanted:
            reasons[weight.path] = "not included"
        elif weight.logical_shape is not None and composition in ("multiply", "scale"):
            reasons[weight.path] = "quantized, which no factor changes"
        elif weight.logical_shape is None and not keras.backend.is_float_dtype(
            weight.variable.dtype
        ):
            reasons[weight.path] = f"of dtype {weight.variable.dtype}"
        elif record is not None:
            included.append(weight)
        elif weight.variable.constraint is not None:
            reasons[weight.path] = "has a constraint, which needs a stored weight"
        elif composition == "replace" and weight.path in frozen:
            if is_named(weight.path, include):
                raise ValueError(
                    f"`include` names '{weight.path}', which is frozen, and composition='replace' "
                    "would throw its values away. Thaw its layer, or use another composition."
                )
            reasons[weight.path] = "frozen, and would be replaced"
        elif composition in ("multiply", "scale") and _starts_at_zero(weight):
            if is_named(weight.path, include):
                raise ValueError(
                    f"`include` names '{weight.path}', which starts at zero, and "
                    f"composition={composition!r} is a factor, which cannot change it. Leave it "
                    "out, and it is trained itself; or use composition='add'."
                )
            reasons[weight.path] = "starts at zero, which no factor changes"
        else:
            included.append(weight)
    return Parts(weights, included, reasons, state, frozen, [w.path for w in named])


def _is_of_quantization(weight: NamedWeight) -> bool:
    return any(v is weight.variable for v in of_quantization(weight.layers[-1]))


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


def is_named(path: str, include: Any) -> bool:
    """Whether `include` has the path itself, not only a pattern that it matches."""
    return any(isinstance(item, str) and item == path for item in _list(include))


def generator_of(weight: NamedWeight, generator: Any) -> tuple[Generator | None, str]:
    """Returns the generator of a weight, and the pattern that it belongs to.

    Args:
        weight: The weight.
        generator: A generator, or a dict from patterns to generators.
    """
    if not isinstance(generator, Mapping):
        return generator, "*"
    for pattern, made_by in generator.items():
        if matches(weight.path, pattern):
            return made_by, pattern
    return None, ""


def matches(path: str, pattern: str) -> bool:
    """Whether a path is the pattern, lies below it, or matches it as a glob."""
    return path.startswith(f"{pattern}/") or fnmatch.fnmatchcase(path, pattern)


def initialization_of(weight: NamedWeight) -> tuple[Any, Any]:
    """Returns the initializer of a weight, and what it starts at if not at random.

    The second is a number for a weight that starts as a constant, a function of
    shape and dtype for one of two constants, the variable itself for one whose start
    is not known, and None for one that is drawn.
    """
    layer, variable = weight.layers[-1], weight.variable
    name = variable.name
    names = (f"{name}_initializer", *_INITIALIZERS.get(name, ()))
    found = [getattr(layer, n) for n in names if getattr(layer, n, None) is not None]
    initializer = keras.initializers.get(found[0]) if found else None
    initializer = own_initializer(layer, name, initializer)
    if initializer is None and len(weight.shape) > 1:
        # What `add_weight` takes where it is given none.
        return keras.initializers.GlorotUniform(), None
    if initializer is not None and weight_std(initializer, weight.shape):
        return initializer, None
    start: Any = _constant(initializer)
    if start is not None and name == "bias" and getattr(layer, "unit_forget_bias", False):
        start = functools.partial(_forget_bias, start)
    return initializer or "zeros", variable if start is None else start


def _forget_bias(constant: float, shape: Sequence[int], dtype: Any = None) -> Any:
    """Returns the bias of an LSTM, whose forget gate starts open."""
    rows = ops.full((4, shape[0] // 4), constant, dtype=dtype)
    open_gate = ops.reshape(ops.arange(4) == 1, (4, 1))
    return ops.reshape(ops.where(open_gate, ops.ones_like(rows), rows), shape)


def _starts_at_zero(weight: NamedWeight) -> bool:
    start = initialization_of(weight)[1]
    return isinstance(start, float) and start == 0.0


def _constant(initializer: Any) -> float | None:
    known = {keras.initializers.Zeros: 0.0, keras.initializers.Ones: 1.0}
    value = known.get(type(initializer))
    if isinstance(initializer, keras.initializers.Constant) and isinstance(
        initializer.value, int | float
    ):
        value = float(initializer.value)
    return value


def _wanted(weights: Sequence[NamedWeight], include: Any) -> set[str]:
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


def _list(include: Any) -> list[Any]:
    include = as_include(include)
    return include if isinstance(include, list) else [include]


def _includes(item: Any, weight: NamedWeight) -> bool:
    if isinstance(item, str):
        return matches(weight.path, item)
    if isinstance(item, type):
        return any(isinstance(layer, item) for layer in weight.layers)
    return bool(item(weight.path, weight.variable))


def _thawed(model: keras.Model) -> set[int]:
    """Returns the ids of the weights that are trained where nothing is frozen."""
    layers = [(layer, layer.trainable) for layer in walk(model)]
    variables = [(v, v.trainable) for v in model.weights]
    # An assignment that changes nothing may reach no sublayer, so change it.
    model.trainable = False
    model.trainable = True
    trained = {id(v) for v in model.trainable_weights}
    # Parents come first: what they freeze, a child may thaw again.
    for layer, flag in layers:
        if layer.trainable != flag:
            layer.trainable = flag
    for v, flag in variables:
        if v.trainable != flag:
            v.trainable = flag
    return trained
