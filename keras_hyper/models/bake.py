"""From a hypernetwork to an ordinary Keras model with the same outputs."""

import tempfile
from typing import Any

import keras

from keras_hyper.checks import check_model
from keras_hyper.generators import Generator
from keras_hyper.graph import pairs, walk
from keras_hyper.layers import HyperLayer
from keras_hyper.models.at import HypernetworkAt
from keras_hyper.models.hypernetwork import Hypernetwork
from keras_hyper.models.rebuild import rebuild
from keras_hyper.ops import to_numpy
from keras_hyper.scopes import bake_scope


def bake(model: keras.Model) -> keras.Model:
    """Returns an ordinary Keras model in which generated weights are stored ones.

    Every static hyper layer becomes its stock twin (`HyperDense` a
    `keras.layers.Dense`, and so on), holding the weights that it generates now.
    The outputs are equal, nothing is generated any more, and the new model does
    not need this package. It shares no variables with the old one.

    Sequential, functional, nested and subclassed models work, also with layers
    that are called twice, that are in lists, or inside wrappers such as
    `TimeDistributed`. A subclassed model needs a `get_config` that allows
    `from_config` to construct it again. Since its class makes hyper layers, a
    `.keras` file of the baked model would be read back as a hypernetwork, which
    Keras refuses; export it instead, or keep the file of the original.

    Args:
        model: The model, built.

    Returns:
        The new model; it is not compiled.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If something in the model cannot be baked, naming it: a
            conditioned layer, which has as many kernels as conditions; a
            subclass of a hyper layer; a model that cannot be constructed again.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense, bake
        >>> model = keras.Sequential([keras.Input((16,)), HyperDense(8)])
        >>> plain = bake(model)
        >>> type(plain.layers[0]).__name__, plain.count_params()
        ('Dense', 136)
    """
    check_model(model)
    if isinstance(model, Hypernetwork | HypernetworkAt):
        # The target may have hyper layers itself.
        return bake(model.bake())
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built, so it has no weights to bake. Call it on inputs "
            "first."
        )
    for layer in walk(model):
        if isinstance(layer, HyperLayer):
            _check_bakeable(layer)
        if isinstance(layer, Hypernetwork):
            raise ValueError(
                f"Hypernetwork '{layer.name}' is a part of model '{model.name}', and can be baked "
                "by itself only: `hyper.bake(condition)`."
            )
    try:
        with bake_scope():
            plain = rebuild(model)
    except Exception as error:
        raise ValueError(
            f"Model '{model.name}' cannot be baked: constructing {type(model).__name__} again from "
            f"its `get_config` failed with {type(error).__name__}: {error}"
        ) from error
    _copy_weights(model, plain)
    return plain


def _check_bakeable(layer: HyperLayer) -> None:
    if not layer.built:
        raise ValueError(f"Layer '{layer.name}' cannot be baked: it is not built.")
    if layer.conditioned:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) cannot be baked: it is conditioned, "
            "and has different weights for every condition. For its weights at one condition, call "
            "`layer.generate(condition)` and assign them to a layer of "
            f"`keras.layers.{layer.stock.__name__}`; a `Hypernetwork` has `bake(condition)`. To "
            "serve all conditions, use `keras_hyper.export_saved_model`."
        )
    if layer.stock not in type(layer).__bases__:
        raise ValueError(
            f"Layer '{layer.name}' cannot be baked: {type(layer).__name__} is a subclass of "
            f"{type(layer).__bases__[0].__name__}, and what it adds has no place in a "
            f"{layer.stock.__name__}."
        )


def _copy_weights(model: keras.Model, plain: keras.Model) -> None:
    """Copies the weights along the two models, which have the same places."""
    matched = list(pairs(model, plain))
    first: dict[int, keras.layers.Layer] = {}
    for source, target in matched:
        if source.weights and first.setdefault(id(source), target) is not target:
            raise ValueError(
                f"Layer '{source.name}' ({type(source).__name__}) cannot be baked: it is used in "
                "more than one of the nested models, and would become several layers."
            )
        if isinstance(source, HyperLayer):
            weights = source.generate()
            target.set_weights([to_numpy(w) for w in weights.values()])
        else:
            _copy_own_state(source, target)
        # Parents come first: what they freeze, a child may thaw again.
        if target.trainable != source.trainable:
            target.trainable = source.trainable
    done = {id(target) for _, target in matched}
    for layer in walk(plain):
        if isinstance(layer, HyperLayer | Generator) or type(layer).__module__.startswith(
            __name__.partition(".")[0] + "."
        ):
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) of model '{plain.name}' cannot be "
                "baked: no layer of Keras computes what it does. Export the model instead "
                "(`keras_hyper.export_saved_model`)."
            )
        if id(layer) not in done:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) cannot be baked: constructing "
                f"{type(plain).__name__} again gave a model of another structure, with no layer "
                "in the old one to copy its weights from."
            )


def _copy_own_state(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Copies the variables and assets that are a layer's own, not its children's."""
    store: dict[str, Any] = {}
    source.save_own_variables(store)
    values = {key: to_numpy(value) for key, value in store.items()}
    target.load_own_variables(values)
    # Vocabularies and the like, which some preprocessing layers keep.
    if hasattr(source, "save_assets") and hasattr(target, "load_assets"):
        with tempfile.TemporaryDirectory() as directory:
            source.save_assets(directory)
            target.load_assets(directory)
