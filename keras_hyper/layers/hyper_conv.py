"""1D, 2D and 3D convolutions with generated kernels."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_base_conv import HyperBaseConv
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Tensor
from keras_hyper.utils.arguments import passed


class HyperConv(HyperBaseConv):
    """Base of `HyperConv1D`, `HyperConv2D` and `HyperConv3D`."""

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
        """Raises for integers, except on JAX, where stock layers support them."""
        if keras.backend.backend() != "jax":
            super().check_inputs(inputs)

    def weight_shapes(self, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the shapes of kernel and bias."""
        if channels % self.groups:
            raise ValueError(
                f"The number of input channels of layer '{self.name}' must be divisible by "
                f"`groups`. Received: groups={self.groups} and `inputs` of {channels} channels"
            )
        return (*self.kernel_size, channels // self.groups, self.filters), (self.filters,)


@serializable
class HyperConv1D(HyperConv, keras.layers.Conv1D):
    r"""1D convolution with a generated kernel: `y = f(x * K(e) + b)`.

    Takes the arguments of `keras.layers.Conv1D`, then `generator`, `embedding_dim`,
    `generate_bias` and `composition` as in `HyperDense`. The `kernel_...` arguments apply to
    the generated kernel, see `HyperDense`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, steps, channels)`,
            or with the channels second.
        condition, training: See `HyperDense`.

    Output shape:
        `(batch, new_steps, filters)`, or with the channels second.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the condition is an integer tensor, or, except on JAX, the inputs are.

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
    r"""2D convolution with a generated kernel: `y = f(x * K(e) + b)`.

    Takes the arguments of `keras.layers.Conv2D`, then `generator`, `embedding_dim`,
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
        TypeError: If the condition is an integer tensor, or, except on JAX, the inputs are.

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
    r"""3D convolution with a generated kernel: `y = f(x * K(e) + b)`.

    Takes the arguments of `keras.layers.Conv3D`, then `generator`, `embedding_dim`,
    `generate_bias` and `composition` as in `HyperDense`. The `kernel_...` arguments apply to
    the generated kernel, see `HyperDense`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, depth, height, width, channels)`,
            or with the channels second.
        condition, training: See `HyperDense`.

    Output shape:
        `(batch, new_depth, new_height, new_width, filters)`, or with the channels second.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the condition is an integer tensor, or, except on JAX, the inputs are.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperConv3D
        >>> layer = HyperConv3D(8, 3, padding="same")
        >>> x, context = keras.ops.ones((2, 5, 6, 7, 4)), keras.ops.ones((2, 3))
        >>> tuple(layer(x, condition=context).shape)
        (2, 5, 6, 7, 8)
    """

    stock = keras.layers.Conv3D
