"""Conversion of a hypernetwork to an ordinary Keras model with the same outputs."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, TypeAlias, TypeVar

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers import HyperLayer
from keras_hyper.ops import to_numpy
from keras_hyper.transforms.clone import from_own_config, rebuild
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import check_built, check_model
from keras_hyper.utils.graph import (
    LISTS_OF_KERAS,
    Place,
    children,
    finish_loading,
    named_weights,
    pairs,
    walk,
)

L = TypeVar("L", bound=keras.Layer)
# Maps a layer or operation to its replacement: None for a generator.
Make: TypeAlias = Callable[[Any], Any]


def bake(model: keras.Model) -> keras.Model:
    """Returns an ordinary Keras model in which generated weights are stored ones.

    Every static hyper layer becomes its stock twin with the weights that it generates now:
    `HyperDense` becomes `keras.layers.Dense`, and so on. `hyper.at(condition)` inside the model
    becomes the target with the weights for that condition. The outputs are equal. The new model
    generates nothing, does not need this package, and shares no variables with the old one.

    Sequential, functional, nested and subclassed models are supported. Layers may be called twice,
    and may be in lists or inside wrappers such as `TimeDistributed`. A subclassed model or layer
    needs a `get_config` from which `from_config` can construct it. Its class constructs hyper
    layers, so Keras cannot load a `.keras` file of the baked model, and raises. Export the baked
    model, or keep the file of the original.

    Args:
        model: The model, built.

    Returns:
        The new model, not compiled.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If part of the model cannot be baked: a conditioned layer, which has a kernel
            for each condition; a subclass of a hyper layer; or a model that cannot be constructed
            again. The message names the layer.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, bake
        >>> model = keras.Sequential([keras.Input((16,)), HyperDense(8)])
        >>> plain = bake(model)
        >>> type(plain.layers[0]).__name__, plain.count_params()
        ('Dense', 136)
    """
    check_model(model)
    if hasattr(model, "to_stock"):
        stock: keras.Model = model.to_stock()
        return stock
    check_built(model)
    return _plain(model)


def bake_with(model: keras.Layer, values: Mapping[int, Tensor]) -> keras.Layer:
    """Returns a plain copy of a built model or layer with new values for some variables.

    Args:
        model: The model or layer.
        values: Tensors by the `id` of the variables of `model`.
    """
    with _naming(model):
        copy = rebuild(model)
    _copy_weights(model, copy)
    for ours, new in zip(named_weights(model), named_weights(copy), strict=True):
        if id(ours.variable) in values:
            new.variable.assign(values[id(ours.variable)])
    finish_loading(copy)
    return _plain(copy) if _is_hyper(copy) else copy


def _plain(model: L) -> L:
    """Returns a copy of a model or layer without hyper layers."""
    made: dict[int, keras.Layer | None] = {}

    def make(layer: keras.Layer) -> Any:
        if id(layer) not in made:
            made[id(layer)] = _twin(layer, make)
        return made[id(layer)]

    with _naming(model):
        plain = rebuild(model, make)
    _copy_weights(model, plain)
    for layer in walk(plain):
        if type(layer).__module__.startswith(__name__.partition(".")[0] + "."):
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) of model '{model.name}' cannot be "
                "baked: it has no equivalent Keras layer, or no attribute holds it. Export "
                "the model instead (`keras_hyper.export_saved_model`)."
            )
    return plain


@contextlib.contextmanager
def _naming(model: keras.Layer) -> Iterator[None]:
    """Raises errors of the construction of a model or layer with its name."""
    try:
        yield
    except Exception as error:
        if "cannot be baked" in str(error):
            raise
        raise ValueError(
            f"'{model.name}' cannot be baked: constructing {type(model).__name__} again from its "
            f"`get_config` failed with {type(error).__name__}: {error}"
        ) from error


def _is_hyper(layer: keras.Layer) -> bool:
    """Whether a layer, or a layer inside it, must be replaced."""
    return any(isinstance(x, Generator) or hasattr(x, "to_stock") for x in walk(layer))


def _twin(layer: Any, make: Make) -> Any:
    """Returns the replacement of a layer or operation: None for a generator."""
    if isinstance(layer, Generator):
        return None
    if isinstance(layer, HyperLayer):
        return layer.to_stock(build=False)
    if hasattr(layer, "to_stock"):
        stock = layer.to_stock()
        stock.name = layer.name
        return stock
    held = children(layer) if isinstance(layer, keras.Layer) else {}
    twins = {place: make(child) for place, child in held.items() if _is_hyper(child)}
    if twins and _is_graph(layer):
        return _graph_twin(layer, make)
    with _naming(layer):
        copy = from_own_config(layer)
    if twins and not _replace(copy, twins):
        _replace_when_built(copy, twins)
    return copy


def _is_graph(layer: keras.Layer) -> bool:
    """Whether a layer is a functional or Sequential model that does not override `call`."""
    cls: Any = type(layer)
    stock = next(c for c in cls.__mro__ if c.__module__.startswith("keras."))
    return stock.__name__ in ("Functional", "Sequential") and cls.call is stock.call


def _graph_twin(model: keras.Model, make: Make) -> keras.Model:
    """Returns the replacement of a functional or Sequential model."""
    every = keras.Model.layers.fget(model)  # Includes the input layer of a Sequential model.
    if isinstance(model, keras.Sequential):
        return keras.Sequential([make(layer) for layer in every], name=model.name)
    starts = {id(x.output): x for x in every if isinstance(x, keras.layers.InputLayer)}
    inputs = keras.tree.map_structure(lambda x: make(starts[id(x)]).output, model.input)
    # Keras would compile the clone of a compiled model.
    view = keras.Model(model.input, model.output, name=model.name)
    return keras.models.clone_model(view, inputs, make)


def _replace(layer: keras.Layer, twins: Mapping[Place, keras.Layer]) -> bool:
    """Replaces sublayers by their places, and returns whether all places exist."""
    held = children(layer)
    found = {p: held[p] for p in twins if p in held and p[0] not in LISTS_OF_KERAS}
    new = {id(child): twins[place] for place, child in found.items()}
    for name in dict.fromkeys(place[0] for place in found):
        value = _replaced(getattr(layer, name), new)
        # Keras stops tracking the layers of a list that is cleared, but not of an attribute.
        delattr(layer, name)
        setattr(layer, name, list(found.values()))
        getattr(layer, name).clear()
        setattr(layer, name, value)
    return twins.keys() <= held.keys()


def _replace_when_built(layer: keras.Layer, twins: Mapping[Place, keras.Layer]) -> None:
    """Wraps the `build` of a layer to replace sublayers that it creates."""

    # Bypasses Keras's wrapper, which forbids new sublayers after `build`.
    @functools.wraps(layer.build)
    def build(*args: Any, **kwargs: Any) -> None:
        with keras.name_scope(layer.name):
            type(layer).build(layer, *args, **kwargs)
        _replace(layer, twins)
        layer.built = True

    layer.build = build


def _replaced(value: Any, new: Mapping[int, keras.Layer]) -> Any:
    """Returns a structure with new layers, given by the `id` of the layers they replace."""
    if id(value) in new:
        return new[id(value)]
    kind: Any = type(value)
    if isinstance(value, Mapping):
        return kind({key: _replaced(item, new) for key, item in value.items()})
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | Set):
        return value
    items = [_replaced(item, new) for item in value]
    return kind(*items) if hasattr(value, "_fields") else kind(items)


def _copy_weights(model: keras.Layer, plain: keras.Layer) -> None:
    """Copies weights and `trainable` between layers in the same places of two models."""
    first: dict[int, keras.Layer] = {}
    seen: set[int] = set()
    for source, target in pairs(model, plain, seen):
        if source.weights and first.setdefault(id(source), target) is not target:
            raise ValueError(
                f"Layer '{source.name}' ({type(source).__name__}) cannot be baked: it is used in "
                "more than one of the nested models, and would become several layers."
            )
        if hasattr(source, "to_stock") and type(source) is not type(target):
            seen.update(map(id, walk(target)))
            if isinstance(source, HyperLayer):
                target.set_weights([to_numpy(weight) for weight in source.generate().values()])
        else:
            _copy_own_state(source, target)
        # Parents come first: a child may be trainable in a frozen parent.
        if target.trainable != source.trainable:
            target.trainable = source.trainable
    for layer in walk(plain):
        if id(layer) not in seen:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) cannot be baked: constructing "
                f"{type(plain).__name__} again gave a model of another structure. The layer has "
                "no counterpart in the old model to copy weights from."
            )


def _copy_own_state(source: keras.Layer, target: keras.Layer) -> None:
    """Copies the variables and assets of a layer, without those of its sublayers."""
    store: dict[str, Tensor] = {}
    source.save_own_variables(store)
    target.load_own_variables({key: to_numpy(value) for key, value in store.items()})
    # Preprocessing layers keep vocabularies as assets.
    if hasattr(source, "save_assets") and hasattr(target, "load_assets"):
        with tempfile.TemporaryDirectory() as directory:
            source.save_assets(directory)
            target.load_assets(directory)
