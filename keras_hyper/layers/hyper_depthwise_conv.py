"""A depthwise convolution with generated filters."""

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
    r"""A depthwise 2D convolution whose filters are generated.

    `y_cm = f(x_c * K(e)_cm + b_cm)`: each input channel `c` is convolved with its own
    `depth_multiplier` filters.

    `layer(x)` is static: the kernel is made from embeddings that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    Args:
        kernel_size: Integer or tuple of 2 integers.
        strides: Integer or tuple of 2 integers.
        padding: `"valid"` or `"same"`.
        depth_multiplier: Integer, number of filters for each input channel.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of 2 integers.
        activation: Activation function.
        use_bias: Whether to add a bias.
        depthwise_initializer: Initializer whose variance the generated kernel starts with.
        bias_initializer: Initializer of the bias.
        depthwise_regularizer: Regularizer of the generated kernel; its mean over per-sample
            kernels, which recurrent cells do not support.
        bias_regularizer: Regularizer of the bias.
        activity_regularizer: Regularizer of the output.
        depthwise_constraint: Must be None: a constraint projects a variable.
        bias_constraint: Constraint of the bias, if the bias is not generated.
        generator: A `Generator`, which several layers may share. None for the layer's own, which
            usually stores at most half as many parameters as the kernel has (`default_generator`).
        embedding_dim: Integer or None, width of the embedding of the layer's own generator.
        generate_bias: Whether the bias is generated as well: `b = b_0 + P c`, where `b_0` starts at
            the `bias_initializer` and `P` at zero.
        composition: `"replace"`: the generated values are the kernel. `"add"`, `"multiply"` and
            `"scale"` change a stored kernel that training starts from, see `GeneratedWeight`.
        **kwargs: `base_trainable=False`, to freeze the stored kernel, and arguments of
            `keras.layers.Layer`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, height, width, channels)`, or with the
            channels second.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, new_height, new_width, channels * depth_multiplier)`, or with the channels second.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the generator cannot
            make it, or if a condition does not fit.
        TypeError: If the inputs or the condition are integers.

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
        """Returns the shapes of kernel and bias for a number of input channels."""
        kernel_shape = (*self.kernel_size, channels, self.depth_multiplier)
        return kernel_shape, (channels * self.depth_multiplier,)
