"""Quantized and frozen sublayers in the configurations of the layers that construct them."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_hyper.typing import Config
from keras_hyper.utils.graph import children

_MODES = ("int8", "int4", "float8")


def with_sublayers(config: Config, owner: keras.Layer, given: keras.Layer | None = None) -> Config:
    """Returns the configuration of a layer with entries for quantized and frozen sublayers.

    Stock layers keep this in their own configurations, which are not part of `config`.

    Args:
        config: The configuration.
        owner: The layer, built.
        given: A sublayer with its own configuration, which is left out.
    """
    below = dict(_below(owner, (), given))
    quantized = {
        path: _quantization(layer, owner)
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
    """Quantizes and freezes sublayers of a built layer, before its weights are loaded."""
    layers = dict(_below(owner))
    for path, how in config.get("quantized", {}).items():
        layer = layers[path]
        # Another layer may have restored a shared generator.
        if layer.quantization_mode is None:
            scheme = keras.saving.deserialize_keras_object(how["config"])
            layer.quantize(how["mode"], **({} if scheme is None else {"config": scheme}))
    for path in config.get("frozen_layers", ()):
        layers[path].trainable = False
    for path in config.get("trained_layers", ()):
        layers[path].trainable = True


def unquantized(config: Any) -> Any:
    """Returns a configuration with the dtype policies from before quantization."""
    if isinstance(config, list | tuple):
        return [unquantized(item) for item in config]
    if not isinstance(config, dict):
        return config
    inside = config.get("config")
    if isinstance(inside, dict) and "source_name" in inside:
        policy = {"name": inside["source_name"]}
        return {**config, "class_name": "DTypePolicy", "config": policy}
    rest = {key: unquantized(value) for key, value in config.items()}
    return {**rest, "quantization_config": None} if "quantization_config" in rest else rest


def _quantization(layer: keras.Layer, owner: keras.Layer) -> Config:
    mode = layer.quantization_mode
    if mode not in _MODES:
        raise ValueError(
            f"Layer '{layer.name}' of '{owner.name}' ({type(owner).__name__}) is quantized with "
            f"mode '{mode}', which cannot be loaded from a file. Use one of {list(_MODES)}, or "
            "export the model."
        )
    scheme = getattr(layer, "quantization_config", None)
    return {"mode": str(mode), "config": keras.saving.serialize_keras_object(scheme)}


def _below(
    layer: keras.Layer, place: tuple[Any, ...] = (), given: keras.Layer | None = None
) -> Iterator[tuple[str, keras.Layer]]:
    """Yields the sublayers of a layer at any depth, with the attributes that hold them."""
    for name, child in children(layer).items():
        if child is not given:
            yield "/".join(map(str, (*place, *name))), child
            yield from _below(child, (*place, *name), given)
