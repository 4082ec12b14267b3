"""Convolutions with generated kernels, in one, two and three dimensions."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_base_conv import HyperBaseConv
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Tensor
from keras_hyper.utils.arguments import passed


class HyperConv(HyperBaseConv):
    """Base of the convolutions of every dimension."""

    sizes = ("filters",)

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
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

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises for integers, except on JAX, whose stock layers take them."""
        if keras.backend.backend() != "jax":
            super().check_inputs(inputs)

    def weight_shapes(self, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the shapes of kernel and bias for a number of input channels."""
        if channels % self.groups:
            raise ValueError(
                f"The number of input channels of layer '{self.name}' must be divisible by "
                f"`groups`. Received: groups={self.groups} and `inputs` of {channels} channels"
            )
        return (*self.kernel_size, channels // self.groups, self.filters), (self.filters,)


@serializable
class HyperConv1D(HyperConv, keras.layers.Conv1D):
    r"""A 1D convolution whose kernel is generated: `y = f(x * K(e) + b)`.

    `layer(x)` is static: the kernel is made from embeddings that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or tuple of 1 integer.
        strides: Integer or tuple of 1 integer.
        padding: `"valid"`, `"same"` or `"causal"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of 1 integer.
        groups: Integer, number of groups of channels that are convolved apart.
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
        inputs: Floating point tensor of shape `(batch, steps, channels)`, or with the channels
            second.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, new_steps, filters)`, or with the channels second.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the generator cannot
            make it, or if a condition does not fit.
        TypeError: If the condition has integers, or the inputs have, except on JAX.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, section 3.1.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperConv1D
        >>> layer = HyperConv1D(8, 3, padding="causal")
        >>> tuple(layer(keras.ops.ones((2, 20, 4))).shape)
        (2, 20, 8)
    """

    stock = keras.layers.Conv1D


@serializable
class HyperConv2D(HyperConv, keras.layers.Conv2D):
    r"""A 2D convolution whose kernel is generated: `y = f(x * K(e) + b)`.

    `layer(x)` is static: the kernel is made from embeddings that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or tuple of 2 integers.
        strides: Integer or tuple of 2 integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of 2 integers.
        groups: Integer, number of groups of channels that are convolved apart.
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
        TypeError: If the condition has integers, or the inputs have, except on JAX.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, section 3.1.

    Examples:
        One generator for both convolutions:

        >>> import keras
        >>> from keras_hyper import HyperConv2D, TiledKernelGenerator
        >>> kernels = TiledKernelGenerator(tile=(3, 3, 16, 16), embedding_dim=8)
        >>> model = keras.Sequential([
        ...     keras.Input((28, 28, 16)),
        ...     HyperConv2D(32, 3, padding="same", generator=kernels),
        ...     HyperConv2D(64, 3, padding="same", generator=kernels),
        ... ])
        >>> model.output_shape
        (None, 28, 28, 64)
    """

    stock = keras.layers.Conv2D


@serializable
class HyperConv3D(HyperConv, keras.layers.Conv3D):
    r"""A 3D convolution whose kernel is generated: `y = f(x * K(e) + b)`.

    `layer(x)` is static: the kernel is made from embeddings that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    Args:
        filters: Integer, number of output channels.
        kernel_size: Integer or tuple of 3 integers.
        strides: Integer or tuple of 3 integers.
        padding: `"valid"` or `"same"`.
        data_format: `"channels_last"` or `"channels_first"`.
        dilation_rate: Integer or tuple of 3 integers.
        groups: Integer, number of groups of channels that are convolved apart.
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
        inputs: Floating point tensor of shape `(batch, depth, height, width, channels)`, or with
            the channels second.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, new_depth, new_height, new_width, filters)`, or with the channels second.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the generator cannot
            make it, or if a condition does not fit.
        TypeError: If the condition has integers, or the inputs have, except on JAX.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, section 3.1.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperConv3D
        >>> layer = HyperConv3D(8, 3, padding="same")
        >>> x, context = keras.ops.ones((2, 5, 6, 7, 4)), keras.ops.ones((2, 3))
        >>> tuple(layer(x, condition=context).shape)
        (2, 5, 6, 7, 8)
    """

    stock = keras.layers.Conv3D
