"""Walking the layers of any model through their attributes."""

import dataclasses
import itertools
import re
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from typing import Any

import keras

# What Keras calls a variable that was given no name.
_MADE_UP = re.compile(r"variable(_\d+)?")

# How the attributes start that TensorFlow adds for what it tracks. Only these: a user's attribute
# may start with `_self_`, too.
_OF_TENSORFLOW = "extra_variables name_based_ saveable_ setattr_ unconditional_ update_uid"
_TENSORFLOW = tuple(f"_self_{start}" for start in _OF_TENSORFLOW.split())
# Where Keras keeps the layers of a layer or model besides the attributes of its class.
LISTS_OF_KERAS = ("_layers", "_operations", "_operations_by_depth")

# Where a layer sits in its parent: attribute names, list indices, dict keys.
Place = tuple[Any, ...]


def children(layer: keras.Layer) -> dict[Place, keras.Layer]:
    """Returns the layers that a layer holds, in attributes and collections.

    These are all that Keras tracks, including those in sets, and those whose attribute
    was assigned a second time.
    """
    found: dict[Place, keras.Layer] = {}

    def visit(place: Place, value: object) -> None:
        if isinstance(value, keras.Layer):
            found[place] = value
        elif isinstance(value, Mapping):
            for key, item in value.items():
                visit((*place, key), item)
        elif isinstance(value, Set | Sequence) and not isinstance(value, str | bytes):
            for index, item in enumerate(value):
                visit((*place, index), item)

    # PyTorch keeps sublayers apart from the other attributes.
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}
    for name, value in attributes.items():
        if name not in ("_layers", "_modules") and not name.startswith(_TENSORFLOW):
            visit((name,), value)
    # Keras's list of all sublayers says nothing about their places, so it comes last.
    tracked = layer.layers if isinstance(layer, keras.Sequential) else vars(layer)["_layers"]
    known = {id(child) for child in found.values()}
    found |= {("_layers", i): x for i, x in enumerate(tracked) if id(x) not in known}
    # Attributes have another order on PyTorch, and files are read on every backend.
    order = {id(child): index for index, child in enumerate(tracked)}
    return dict(sorted(found.items(), key=lambda item: order.get(id(item[1]), len(order))))


def seed_states(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the states of the random generators of a layer and of those below it."""
    return [v for v in layer.variables if v.name == "seed_generator_state"]


def pairs(
    first: keras.Layer, second: keras.Layer, seen: set[int] | None = None
) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Yields the layers that sit in the same places of two models, parents first.

    The children of a pair are looked up after it was yielded, so that the
    caller may build it.

    `seen` gets the `id` of each layer of the second one. One that is in it is left out.
    """
    seen = set() if seen is None else seen

    def visit(a: keras.Layer, b: keras.Layer) -> Iterator[tuple[keras.Layer, keras.Layer]]:
        if id(b) in seen:
            return
        seen.add(id(b))
        yield a, b
        ours, theirs = children(a), children(b)
        for place in ours:
            if place in theirs:
                yield from visit(ours[place], theirs[place])

    return visit(first, second)


def walk(layer: keras.Layer) -> Iterator[keras.Layer]:
    """Yields a layer and all layers below it, each once; a model's in its order."""
    seen: set[int] = set()

    def visit(layer: keras.Layer) -> Iterator[keras.Layer]:
        if id(layer) in seen:
            return
        seen.add(id(layer))
        yield layer
        ordered = layer.layers if isinstance(layer, keras.Model) else ()
        for child in (*ordered, *children(layer).values()):
            yield from visit(child)

    return visit(layer)


@dataclasses.dataclass(frozen=True)
class NamedWeight:
    """A weight of a model, by a path that does not depend on where the model was built.

    Attributes:
        path: Names of the layers below the model, and of the variable: `"block/dense/kernel"`.
        variable: The variable.
        layers: The layers on the way to it, its owner last.
        logical_shape: Shape of a weight that a quantized layer holds otherwise.
    """

    path: str
    variable: keras.Variable
    layers: tuple[keras.Layer, ...]
    logical_shape: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight, before any quantization."""
        return self.logical_shape or tuple(self.variable.shape)


def named_weights(model: keras.Layer) -> list[NamedWeight]:
    """Returns the weights of a model with their paths, in the order of its layers.

    A path has the names of the layers, as Keras shows them. It has no name that differs
    between processes: where Keras made up the name of a layer, and the configuration of
    the model does not keep it, the path has the attribute that holds the layer. Without
    an attribute it has the name that Keras makes up in a fresh process.

    `variable.path` cannot be used: it has the scopes that were open when the layer was
    built, and these differ in a model that was loaded from a file.
    """
    found: dict[str, NamedWeight] = {}
    seen: set[int] = set()

    def visit(prefix: str, layers: tuple[keras.Layer, ...], kept: bool) -> None:
        layer = layers[-1]
        if id(layer) in seen:
            return
        seen.add(id(layer))
        # Keras constructs its own classes again with the names that their layers had.
        kept = kept and _is_of_keras(layer)
        for name, variable in own_weights(layer).items():
            if id(variable) not in seen:
                seen.add(id(variable))
                path = _free(prefix + name, found)
                found[path] = NamedWeight(path, variable, layers)
        for child, name in named_children(layer, kept):
            visit(f"{prefix}{name}/", (*layers, child), kept)

    visit("", (model,), True)
    return list(found.values())


def own_weights(layer: keras.Layer) -> dict[str, keras.Variable]:
    """Returns the weights that a built layer holds itself, by name."""
    inner = {id(v) for child in children(layer).values() for v in child.weights}
    own: dict[str, keras.Variable] = {}
    for variable in layer.weights:
        if id(variable) not in inner:
            own[_free(variable_name(variable), own)] = variable
    return own


def variable_name(variable: keras.Variable) -> str:
    """Returns the name of a variable, without the number of one that Keras made up."""
    return "variable" if _MADE_UP.fullmatch(variable.name) else variable.name


def named_children(parent: keras.Layer, kept: bool = False) -> list[tuple[keras.Layer, str]]:
    """Returns the layers that a layer holds, each once, with different names.

    `kept` says that their names are the same when the layer is constructed again.
    """
    held = children(parent)
    places: dict[int, Place] = {}
    for place, child in held.items():
        if place[0] not in LISTS_OF_KERAS and not _is_of_keras(parent):
            places.setdefault(id(child), place)
    ordered = [*(parent.layers if isinstance(parent, keras.Model) else ()), *held.values()]
    names: dict[str, keras.Layer] = {}
    for child in {id(child): child for child in ordered}.values():
        name = child.name
        if not kept and (made_up := _match_made_up(child)):
            name = "/".join(map(str, places.get(id(child), (made_up[1],))))
        names[_free(name, names)] = child
    return [(child, name) for name, child in names.items()]


def has_made_up_name(layer: keras.Layer) -> bool:
    """Whether Keras may have made up the name of a layer, with a number of this process."""
    return _match_made_up(layer) is not None


def _match_made_up(layer: keras.Layer) -> re.Match[str] | None:
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    first = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    # `Bidirectional` puts a word before the name of a layer.
    return re.fullmatch(rf"((?:forward_|backward_)?{first})(_\d+)?", layer.name)


def _is_of_keras(layer: keras.Layer) -> bool:
    return type(layer).__module__.startswith("keras.")


def _free(name: str, taken: Container[str]) -> str:
    """Returns the name, with a number if it is taken."""
    numbered = (f"{name}_{i}" if i else name for i in itertools.count())
    return next(name for name in numbered if name not in taken)


def finish_loading(model: keras.Layer) -> None:
    """Lets layers take over what was assigned to their variables.

    `Normalization` computes with constants that it makes of its variables.
    """
    for layer in walk(model):
        if layer.built and hasattr(layer, "finalize_state"):
            layer.finalize_state()
