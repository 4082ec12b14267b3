"""Sublayers that our layers construct: what is quantized or frozen, in configurations."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_hyper.typing import Config
from keras_hyper.utils.graph import children

_MODES = ("int8", "int4", "float8")


def with_sublayers(config: Config, owner: keras.Layer, given: keras.Layer | None = None) -> Config:
    """Returns the configuration of a layer with what is quantized and frozen below it.

    Keras keeps this in the configuration of each stock layer. The configurations of our
    layers do not have those of the layers that they construct.

    Args:
        config: The configuration.
        owner: The layer, built.
        given: A layer below it that has a configuration itself, and is left out.
    """
    below = dict(_below(owner, (), given))
    quantized = {
        path: {
            "mode": _checked_mode(layer, owner),
            "config": keras.saving.serialize_keras_object(
                getattr(layer, "quantization_config", None)
            ),
        }
        for path, layer in below.items()
        if layer.quantization_mode is not None
    }
    # A frozen owner freezes all of them.
    frozen = [path for path, layer in below.items() if owner.trainable and not layer.trainable]
    parents = tuple(f"{path}/" for path in frozen)
    trained = [p for p, layer in below.items() if layer.trainable and p.startswith(parents)]
    found = {"quantized": quantized, "frozen_layers": frozen, "trained_layers": trained}
    return {**config, **{key: value for key, value in found.items() if value}}


def restore_sublayers(config: Mapping[str, Any], owner: keras.Layer) -> None:
    """Quantizes and freezes what was so below a built layer, before its weights are loaded."""
    layers = dict(_below(owner))
    for path, how in config.get("quantized", {}).items():
        layer = layers[path]
        # A shared generator may have been restored by another layer.
        if layer.quantization_mode is None:
            scheme = keras.saving.deserialize_keras_object(how["config"])
            layer.quantize(how["mode"], **({} if scheme is None else {"config": scheme}))
    for path in config.get("frozen_layers", ()):
        layers[path].trainable = False
    for path in config.get("trained_layers", ()):
        layers[path].trainable = True


def unquantized(config: Any) -> Any:
    """Returns a configuration with the policies that its layers had before quantization."""
    if isinstance(config, list | tuple):
        return [unquantized(item) for item in config]
    if not isinstance(config, dict):
        return config
    inside = config.get("config")
    if isinstance(inside, dict) and "source_name" in inside:
        policy = {"name": inside["source_name"]}
        return {**config, "class_name": "DTypePolicy", "config": policy}
    rest = {key: unquantized(value) for key, value in config.items()}
    if rest.get("quantization_config") is not None:
        rest["quantization_config"] = None
    return rest


def _checked_mode(layer: keras.Layer, owner: keras.Layer) -> str:
    mode = layer.quantization_mode
    if mode not in _MODES:
        raise ValueError(
            f"Layer '{layer.name}' of '{owner.name}' ({type(owner).__name__}) is quantized with "
            f"mode '{mode}', and could not be loaded again. Use one of {list(_MODES)}, or export "
            "the model."
        )
    return str(mode)


def _below(
    layer: keras.Layer,
    place: tuple[Any, ...] = (),
    given: keras.Layer | None = None,
) -> Iterator[tuple[str, keras.Layer]]:
    """Yields the layers below a layer, by the attributes that hold them."""
    for name, child in children(layer).items():
        if child is not given:
            yield "/".join(map(str, (*place, *name))), child
            yield from _below(child, (*place, *name), given)
