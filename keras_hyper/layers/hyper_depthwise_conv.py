"""Depthwise convolution with generated filters."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_base_conv import HyperBaseConv
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer
from keras_hyper.utils.arguments import passed


@serializable
class HyperDepthwiseConv2D(HyperBaseConv, keras.layers.DepthwiseConv2D):
    r"""Depthwise 2D convolution with generated filters: `y_cm = f(x_c * K(e)_cm + b_cm)`.

    Each input channel `c` has its own `depth_multiplier` filters.

    Takes the arguments of `keras.layers.DepthwiseConv2D`, then `generator`, `embedding_dim`,
    `generate_bias` and `composition` as in `HyperDense`. The `depthwise_...` arguments
    are the `kernel_...` arguments of `HyperDense`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, height, width, channels)`,
            or with the channels second.
        condition, training: See `HyperDense`.

    Output shape:
        `(batch, new_height, new_width, channels * depth_multiplier)`, or with the channels second.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the inputs or the condition are integer tensors.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDepthwiseConv2D
        >>> layer = HyperDepthwiseConv2D(3, depth_multiplier=2)
        >>> x, context = keras.ops.ones((2, 8, 8, 4)), keras.ops.ones((2, 3))
        >>> tuple(layer(x, condition=context).shape)
        (2, 6, 6, 8)
    """

    stock = keras.layers.DepthwiseConv2D
    sizes = ("depth_multiplier",)
    prefix = "depthwise"
    unit_axes = (-2, -1)

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Activation = None,
        use_bias: bool = True,
        depthwise_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        depthwise_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        depthwise_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        generator: Generator | None = None,
        embedding_dim: int | None = None,
        generate_bias: bool = False,
        composition: str = "replace",
        **kwargs: Any,
    ) -> None:
        super().__init__(**passed(locals()))

    def weight_shapes(self, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the shapes of kernel and bias."""
        kernel_shape = (*self.kernel_size, channels, self.depth_multiplier)
        return kernel_shape, (channels * self.depth_multiplier,)
