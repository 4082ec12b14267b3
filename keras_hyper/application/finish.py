"""What ends most layers: bias and activation."""

from typing import Any

from keras import ops

from keras_hyper.kernels import Kernel


def along(weight: Kernel, outputs: Any, axes: Any) -> Any:
    """Returns a weight with the axes of the outputs: ones where the weight has none.

    Args:
        weight: A weight with one axis for each of `axes`; or one for each sample.
        outputs: Tensor of shape `(batch, ...)`.
        axes: The axes of the outputs that belong to the weight, in its order.
    """
    shape: list[Any] = [1] * len(outputs.shape)
    if weight.batched:
        shape[0] = ops.shape(outputs)[0]
    for axis, length in zip(axes, weight.shape, strict=True):
        shape[axis] = length
    return ops.cast(ops.reshape(weight.materialize(), shape), outputs.dtype)


def finish(layer: Any, outputs: Any, bias: Kernel | None, channel_axis: int = -1) -> Any:
    """Returns the outputs of a layer with its bias added and its activation applied.

    Args:
        layer: The layer.
        outputs: Tensor of shape `(batch, ...)`.
        bias: None, or a weight of shape `(units,)`.
        channel_axis: The axis of the outputs that the bias belongs to.
    """
    if bias is not None:
        outputs = outputs + along(bias, outputs, [channel_axis])
    return outputs if layer.activation is None else layer.activation(outputs)
