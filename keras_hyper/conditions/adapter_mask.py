"""A part of a condition that selects the samples with an adapter."""

from typing import Any

import keras
from keras import ops

from keras_hyper.conditions.task_embedding import on_placeholders
from keras_hyper.ops import squeeze_column
from keras_hyper.saving import serializable
from keras_hyper.typing import Shape, Tensor


@serializable
class AdapterMask(keras.layers.Layer):
    """Selects the samples of a batch that have an adapter.

    It is a part of the argument `condition` of `Hypernetwork`. For samples with False, the outputs
    are those of the target with its original weights. The mask is one of the values of a condition,
    in calls, in `fit` and in exported models. It requires a composition that keeps the target's
    weights: `"add"`, `"multiply"` or `"scale"`.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        adapted: Boolean tensor of shape `()` for the whole batch, or `(batch,)` or `(batch, 1)`.

    Output shape:
        `()` or `(batch,)`: 1 for samples with an adapter, 0 for the others.

    Raises:
        TypeError: If the mask is not boolean.
        ValueError: If the mask has an invalid shape.

    Examples:
        >>> import keras
        >>> from keras_hyper import AdapterMask, Hypernetwork, LowRankGenerator
        >>> base = keras.Sequential([keras.Input((16,)), keras.layers.Dense(4)])
        >>> hyper = Hypernetwork(
        ...     base, LowRankGenerator(2), condition=[3, AdapterMask()], composition="add"
        ... )
        >>> x, users = keras.ops.ones((2, 16)), keras.ops.ones((2, 3))
        >>> outputs = hyper(x, condition=[users, [True, False]])
        >>> float(keras.ops.max(keras.ops.abs(outputs[1] - base(x)[1])))
        0.0
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)

    def call(self, adapted: Tensor) -> Tensor:
        """Returns the mask as zeros and ones."""
        self.check(adapted)
        return ops.cast(squeeze_column(adapted), self.compute_dtype)

    def check(self, mask: Tensor) -> None:
        """Raises if a mask has an invalid shape or dtype."""
        if len(mask.shape) > 1 and tuple(mask.shape[1:]) != (1,):
            raise ValueError(
                "An AdapterMask takes one boolean, or one per sample. Received: a mask of shape "
                f"{tuple(mask.shape)}"
            )
        dtype = keras.backend.standardize_dtype(mask.dtype)
        if dtype != "bool" and not on_placeholders():
            raise TypeError(
                "An AdapterMask takes booleans: True for samples with an adapter. Received: a "
                f"mask of dtype {dtype}. Use `mask != 0` for numbers."
            )

    def compute_output_shape(self, adapted_shape: Shape) -> tuple[int | None, ...]:
        """Returns the shape of the mask."""
        return tuple(adapted_shape[:1])
