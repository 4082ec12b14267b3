"""A transposed convolution with a generated kernel."""

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
    r"""A transposed 2D convolution whose kernel is generated.

    `y = f(x *^T K(e) + b)`, where `x *^T K` is the gradient of a convolution with `K` by its
    inputs.

    `layer(x)` is static: the kernel is made from embeddings that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or tuple of 2 integers.
        strides: Integer or tuple of 2 integers.
        padding: `"valid"` or `"same"`.
        output_padding: None, or integer or tuple of 2 integers below the strides, to set the size
            of the output.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of 2 integers.
        activation: Activation function.
        use_bias: Whether to add a bias.
        kernel_initializer: Initializer whose variance the generated kernel starts with.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the generated kernel; its mean over per-sample kernels,
            which recurrent cells do not support.
        bias_regularizer: Regularizer of the bias.
        activity_regularizer: Regularizer of the output.
        kernel_constraint: Must be None: a constraint projects a variable.
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
        `(batch, new_height, new_width, filters)`, or with the channels second.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the generator cannot
            make it, or if a condition does not fit.
        TypeError: If the inputs or the condition are integers.

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
        """Returns the shapes of kernel and bias for a number of input channels."""
        return (*self.kernel_size, self.filters, channels), (self.filters,)
