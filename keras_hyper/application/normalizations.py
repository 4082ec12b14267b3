"""Normalization layers, and PReLU, with given weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.application.finish import along
from keras_hyper.application.stock import call_with
from keras_hyper.kernels import Kernel

NORMALIZATIONS = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.GroupNormalization,
)
_SCALES, _OFFSETS = ("gamma", "scale"), ("beta",)


def scale_and_offset(layer: Any, weights: Mapping[str, Kernel], *args: Any, **kwargs: Any) -> Any:
    """Returns the outputs of a layer that ends with `y * scale + offset`.

    The layer itself runs with a scale of 1 and an offset of 0, with all its changes of state.
    """
    outputs = _plain(layer, weights, args, kwargs)
    axes = _axes(layer, outputs)
    for name, weight in weights.items():
        if name in _SCALES:
            outputs = outputs * along(weight, outputs, axes)
    for name, weight in weights.items():
        if name in _OFFSETS:
            outputs = outputs + along(weight, outputs, axes)
    return ops.cast(outputs, layer.compute_dtype)


def batch_normalization(
    layer: Any, weights: Mapping[str, Kernel], inputs: Any, training: Any = None, mask: Any = None
) -> Any:
    """Returns the outputs of a `BatchNormalization` layer.

    Moving statistics that differ between samples are used in inference, each by its sample.
    """
    mean, variance = (weights[f"moving_{name}"] for name in ("mean", "variance"))
    if not (mean.batched or variance.batched):
        return scale_and_offset(layer, weights, inputs, training=training, mask=mask)
    if training and layer.trainable:
        raise ValueError(
            f"BatchNormalization '{layer.name}' has statistics for each task and cannot be trained "
            "on a batch of several tasks: the statistics of the batch belong to none of them. "
            "Train on batches of one task, with one task id, or freeze the layer."
        )
    inputs = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    axes = [layer.axis]
    outputs = inputs - along(mean, inputs, axes)
    outputs = outputs * ops.rsqrt(along(variance, inputs, axes) + layer.epsilon)
    if "gamma" in weights:
        outputs = outputs * along(weights["gamma"], outputs, axes)
    if "beta" in weights:
        outputs = outputs + along(weights["beta"], outputs, axes)
    return ops.cast(outputs, layer.compute_dtype)


def prelu(layer: Any, weights: Mapping[str, Kernel], inputs: Any) -> Any:
    """Returns the outputs of a `PReLU` layer."""
    axes = range(1, len(inputs.shape))
    return ops.relu(inputs) - along(weights["alpha"], inputs, axes) * ops.relu(-inputs)


def _plain(layer: Any, weights: Mapping[str, Kernel], args: Any, kwargs: Any) -> Any:
    """Returns the outputs of the layer without its scale and offset."""
    given: dict[str, Any] = {}
    for name, weight in weights.items():
        if name in _SCALES:
            given[name] = ops.ones(weight.shape, layer.variable_dtype)
        elif name in _OFFSETS:
            given[name] = ops.zeros(weight.shape, layer.variable_dtype)
    return call_with(layer, given, args, kwargs)


def _axes(layer: Any, outputs: Any) -> Sequence[int]:
    """Returns the axes of the outputs that scale and offset belong to, in their order."""
    axis = layer.axis
    return [axis] if isinstance(axis, int) else list(axis)
