"""Transposed convolution with a generated kernel."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_base_conv import HyperBaseConv
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer
from keras_hyper.utils.arguments import passed


@serializable
class HyperConv2DTranspose(HyperBaseConv, keras.layers.Conv2DTranspose):
    r"""Transposed 2D convolution with a generated kernel: `y = f(x *^T K(e) + b)`.

    Here `x *^T K` is the gradient of a convolution with `K` with respect to its inputs.

    Takes the arguments of `keras.layers.Conv2DTranspose`, then `generator`, `embedding_dim`,
    `generate_bias` and `composition` as in `HyperDense`. The `kernel_...` arguments apply to
    the generated kernel, see `HyperDense`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, height, width, channels)`,
            or with the channels second.
        condition, training: See `HyperDense`.

    Output shape:
        `(batch, new_height, new_width, filters)`, or with the channels second.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the inputs or the condition are integer tensors.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperConv2DTranspose
        >>> layer = HyperConv2DTranspose(8, 3, strides=2, padding="same")
        >>> tuple(layer(keras.ops.ones((2, 7, 7, 4))).shape)
        (2, 14, 14, 8)
    """

    stock = keras.layers.Conv2DTranspose
    sizes = ("filters",)
    unit_axes = (-2,)

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        activity_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
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
        return (*self.kernel_size, self.filters, channels), (self.filters,)
