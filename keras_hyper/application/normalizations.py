"""Normalization layers and `PReLU` with given weights."""

import keras
from keras import layers, ops

from keras_hyper.application.bias import Weights, along
from keras_hyper.application.scope import serving
from keras_hyper.typing import Tensor

NORMALIZATIONS = (layers.LayerNormalization, layers.RMSNormalization, layers.GroupNormalization)
_SCALES, _OFFSET = ("gamma", "scale"), "beta"


def scale_and_offset(
    layer: keras.Layer, weights: Weights, inputs: Tensor, **kwargs: Tensor
) -> Tensor:
    """Returns the outputs of a layer that ends with `y * scale + offset`.

    Calls the layer with a scale of 1 and an offset of 0, which also updates its state.
    """
    neutral = {**dict.fromkeys(_SCALES, ops.ones), _OFFSET: ops.zeros}
    variables = [(getattr(layer, name), make) for name, make in neutral.items() if name in weights]
    values = [(variable, make(variable.shape, variable.dtype)) for variable, make in variables]
    with serving(layer, values=values):
        outputs = type(layer).call(layer, inputs, **kwargs)
    return _scaled(layer, weights, outputs)


def batch_normalization(
    layer: keras.Layer,
    weights: Weights,
    inputs: Tensor,
    training: bool | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Returns the outputs of a `BatchNormalization` layer.

    In inference, each sample may have different moving statistics.
    """
    mean, variance = weights["moving_mean"], weights["moving_variance"]
    if not mean.batched:
        return scale_and_offset(layer, weights, inputs, training=training, mask=mask)
    if training and layer.trainable:
        raise ValueError(
            f"BatchNormalization '{layer.name}' has statistics for each task and cannot be trained "
            "on a batch of several tasks, because batch statistics would mix the tasks. Train on "
            "batches of one task, with one task id, or freeze the layer."
        )
    inputs = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    outputs = inputs - along(mean, inputs, [layer.axis])
    outputs = outputs * ops.rsqrt(along(variance, inputs, [layer.axis]) + layer.epsilon)
    return ops.cast(_scaled(layer, weights, outputs), layer.compute_dtype)


def prelu(layer: layers.PReLU, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of a `PReLU` layer."""
    axes = range(1, len(inputs.shape))
    return ops.relu(inputs) - along(weights["alpha"], inputs, axes) * ops.relu(-inputs)


def _scaled(layer: keras.Layer, weights: Weights, outputs: Tensor) -> Tensor:
    """Applies scale and offset along the normalized axes."""
    axes = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    for name in _SCALES:
        if name in weights:
            outputs = outputs * along(weights[name], outputs, axes)
    if _OFFSET in weights:
        outputs = outputs + along(weights[_OFFSET], outputs, axes)
    return outputs
