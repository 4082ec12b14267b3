"""Quantized layers inside of ours, in the configurations that files have."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_hyper.graph import children

_MODES = ("int8", "int4", "float8")
_KEY = "quantized"


def with_quantization(config: dict[str, Any] | None, owner: keras.layers.Layer) -> Any:
    """Returns the configuration of a layer with what is quantized below it.

    Keras keeps this in the configuration of each stock layer. The configurations of our
    layers do not have those of the stock layers that they construct.

    Args:
        config: The configuration, None if there is none.
        owner: The layer.

    Raises:
        ValueError: If a layer is quantized in a way that cannot be restored.
    """
    quantized: dict[str, Any] = {}
    for path, layer in _below(owner, ()):
        mode = _mode_of(layer)
        if mode is None:
            continue
        if mode not in _MODES:
            raise ValueError(
                f"Layer '{layer.name}' of '{owner.name}' ({type(owner).__name__}) is quantized "
                f"with mode '{mode}', and could not be loaded again. Use one of {list(_MODES)}, or "
                "export the model."
            )
        scheme = getattr(layer, "quantization_config", None)
        quantized[path] = {"mode": mode, "config": keras.saving.serialize_keras_object(scheme)}
    return {**config, _KEY: quantized} if config is not None and quantized else config


def quantize_again(config: Mapping[str, Any], owner: keras.layers.Layer) -> None:
    """Quantizes what was quantized below a layer, before its weights are loaded.

    Args:
        config: What `with_quantization` returned.
        owner: The layer, built.
    """
    layers = dict(_below(owner, ()))
    for path, how in config.get(_KEY, {}).items():
        layer = layers[path]
        # A shared generator may have been restored by another layer.
        if _mode_of(layer) is None:
            scheme = keras.saving.deserialize_keras_object(how["config"])
            layer.quantize(how["mode"], **({} if scheme is None else {"config": scheme}))


def _mode_of(layer: keras.layers.Layer) -> str | None:
    mode: str | None = getattr(layer.dtype_policy, "quantization_mode", None)
    return mode


def _below(
    layer: keras.layers.Layer, place: tuple[Any, ...]
) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers below a layer, by the attributes that hold them."""
    for name, child in children(layer).items():
        yield "/".join(map(str, (*place, *name))), child
        yield from _below(child, (*place, *name))
