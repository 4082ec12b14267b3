"""Warn about layers that a functional model leaves out."""

import functools
import warnings
import weakref
from typing import Any

import keras

# By the id of a tensor: a weak reference to it, and the layer that returned it.
_made: dict[int, tuple[weakref.ref[Any], str]] = {}


def remember(layer: keras.layers.Layer, outputs: Any) -> Any:
    """Records which layer returned concrete (not symbolic) tensors.

    Args:
        layer: The layer. A frozen one may well be left out of a model.
        outputs: Structure of tensors.

    Returns:
        The outputs.
    """
    for x in keras.tree.flatten(outputs) if layer.trainable else ():
        if not isinstance(x, keras.KerasTensor) and hasattr(x, "shape"):
            reference = weakref.ref(x, functools.partial(_forget, id(x)))
            _made[id(x)] = (reference, f"{type(layer).__name__} '{layer.name}'")
    return outputs


def _forget(key: int, reference: Any) -> None:
    # Its id may be that of another tensor by now.
    if _made.get(key, (None,))[0] is reference:
        del _made[key]


def warn_of_constants(layer: keras.layers.Layer, *values: Any) -> None:
    """Warns if a layer joins symbolic tensors with what another one returned before.

    Args:
        layer: The layer that is called.
        *values: Its arguments.
    """
    leaves = keras.tree.flatten(values)
    if not any(isinstance(x, keras.KerasTensor) for x in leaves):
        return
    for x in leaves:
        reference, maker = _made.get(id(x), (None, ""))
        if reference is not None and reference() is x:
            warnings.warn(
                f"{maker} was called on a value, and its output is a constant of the functional "
                f"model that calls '{layer.name}' on it. {maker} is no part of that model, which "
                "neither trains nor calls it. Call it on a `keras.Input`. If you mean a constant, "
                "pass `keras.ops.convert_to_numpy(output)`.",
                stacklevel=3,
            )
