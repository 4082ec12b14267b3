"""Convolutions with generated kernels."""

from typing import Any

import keras

from keras_hyper.checks import positive_int
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable


class HyperConv(HyperLayer):
    """Base of the convolutions whose kernels are generated.

    A subclass inherits from it and from the stock convolution, which sets
    `rank`, `kernel_size` and the rest.
    """

    def __init__(self, filters: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(positive_int("filters", filters), *args, **kwargs)
        # Patches would take a missing batch axis for a spatial one.
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in inputs and outputs."""
        return -1 if self.data_format == "channels_last" else 1

    def build(self, inputs_shape: Any, condition_shape: Any = None) -> None:
        """Creates the slots for inputs of a known number of channels."""
        channels = inputs_shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                f"The number of channels of the inputs of layer '{self.name}' must be known. "
                f"Received: `inputs` of shape {tuple(inputs_shape)}"
            )
        if channels % self.groups:
            raise ValueError(
                "The number of input channels must be divisible by `groups`. Received: "
                f"groups={self.groups} and `inputs` of shape {tuple(inputs_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=self.rank + 2, axes={self.channel_axis: channels}
        )
        self._check_size(inputs_shape)
        kernel_shape = (*self.kernel_size, channels // self.groups, self.filters)
        self.build_weights(kernel_shape, (self.filters,), condition_shape)

    def _check_size(self, inputs_shape: Any) -> None:
        outputs_shape = self.compute_output_shape(inputs_shape)
        if any(length is not None and length <= 0 for length in outputs_shape[1:]):
            raise ValueError(
                f"Nothing is left of the inputs of layer '{self.name}' with "
                f"kernel_size={self.kernel_size} and padding='{self.padding}'. Received: `inputs` "
                f"of shape {tuple(inputs_shape)}"
            )

    def call(self, inputs: Any, condition: Any = None, training: Any = None) -> Any:
        """Returns the activations."""
        self.check_call(inputs, condition)
        self._check_size(inputs.shape)
        kernel, bias = self.weights_for(condition)
        outputs = kernel.conv(
            inputs,
            strides=self.strides,
            padding=self.padding,
            data_format=self.data_format,
            dilation_rate=self.dilation_rate,
        )
        return self.finish(outputs, bias, self.channel_axis)


@serializable
class HyperConv2D(HyperConv, keras.layers.Conv2D):
    r"""A 2D convolution whose kernel is generated: `y = f(x * K(e) + b)`.

    Called as `layer(x)`, it is static: the kernel is made from embeddings that
    the layer learns. Called as `layer(x, condition)`, it is conditioned: a
    condition of shape `(batch, dim)` gives every sample a kernel of its own, one
    of shape `(dim,)` gives one kernel to the whole batch. The first call decides
    which of the two the layer is.

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
        kernel_initializer: Initializer whose variance the generated kernel
            starts with.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the generated kernel; its mean over
            the batch if there is a kernel for each sample, which cannot be used
            inside the cell of a recurrent layer.
        bias_regularizer: Regularizer of the bias.
        activity_regularizer: Regularizer of the output.
        kernel_constraint: Must be None: a constraint projects a variable.
        bias_constraint: Constraint of the bias, if the bias is not generated.
        generator: A `Generator`, shared with as many layers as it can serve, or
            None for a small one of the layer's own, which as a rule stores at
            most half as many numbers as the kernel has (`default_generator`).
        embedding_dim: Integer, width of the embedding of the layer's own
            generator. None to choose it.
        generate_bias: Whether the bias is generated as well: `b = b_0 + P c`,
            where `b_0` starts at the `bias_initializer` and `P` at zero.
        composition: `"replace"`: the generated numbers are the kernel.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, height, width,
            channels)`, or `(batch, channels, height, width)`.
        condition: None, or a floating point tensor of shape `(batch, dim)` or
            `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, new_height, new_width, filters)`, or
        `(batch, filters, new_height, new_width)`.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the
            generator cannot make it, or if a condition does not fit.
        TypeError: If the inputs or the condition are integers.

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

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        generator: Any = None,
        embedding_dim: int | None = None,
        generate_bias: bool = False,
        composition: str = "replace",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            groups=groups,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            generator=generator,
            embedding_dim=embedding_dim,
            generate_bias=generate_bias,
            composition=composition,
            **kwargs,
        )
