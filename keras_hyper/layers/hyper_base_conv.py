"""Base of all convolutions with generated kernels."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_hyper.application import apply_layer
from keras_hyper.application.bias import add_bias_and_activate
from keras_hyper.application.convolutions import TRANSPOSED, channel_axis
from keras_hyper.kernels import Kernel, grouped
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.ops.sample_axis import fold, unfold
from keras_hyper.typing import Shape, Tensor


class HyperBaseConv(HyperLayer):
    """Base of all convolutions with generated kernels.

    A subclass inherits from this class and from the stock convolution, in that order, and
    implements `weight_shapes`.

    Args:
        *args: Positional arguments of the stock convolution.
        **kwargs: Keyword arguments of the stock convolution and of `HyperLayer`.

    Call arguments:
        inputs: Inputs of the stock convolution. A conditioned layer also accepts a second axis with
            several samples for each condition: `(conditions, samples, ...)`.
        condition: See `HyperLayer`.

    Output shape:
        The output shape of the stock convolution.

    Raises:
        ValueError: See `HyperLayer`. Also if the number of channels is unknown, or the inputs are
            too small for the kernel.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Keras does not check these types.
        padding, groups = kwargs.get("padding", "valid"), kwargs.get("groups", 1)
        if not isinstance(padding, str):
            raise ValueError(f"`padding` must be a string. Received: padding={padding!r}")
        if not isinstance(groups, int):
            raise ValueError(f"`groups` must be a positive integer. Received: groups={groups!r}")
        super().__init__(*args, **kwargs)
        # Without a batch axis, per-sample products would take a spatial axis for it.
        self.input_spec = keras.layers.InputSpec(min_ndim=self.rank + 2, max_ndim=self.rank + 3)

    def weight_shapes(self, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the shapes of kernel and bias.

        Args:
            channels: Integer, number of input channels.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `weight_shapes`.")

    @property
    def channel_axis(self) -> int:
        """The channel axis of inputs and outputs."""
        return channel_axis(self)

    def build(self, inputs_shape: Shape, condition_shape: Shape | None = None) -> None:
        """Creates the weights."""
        if condition_shape is not None and len(inputs_shape) == self.rank + 3:
            inputs_shape = (None, *inputs_shape[2:])
        known = len(inputs_shape) == self.rank + 2
        channels = inputs_shape[self.channel_axis] if known else None
        if channels is None:
            raise ValueError(
                f"The number of channels of the inputs of layer '{self.name}' must be known. "
                f"Received: `inputs` of shape {tuple(inputs_shape)}"
            )
        axes = {-1: channels} if self.data_format == "channels_last" else {}
        # Only conditioned layers accept an axis of samples.
        most = self.rank + (2 if condition_shape is None else 3)
        self.input_spec = keras.layers.InputSpec(min_ndim=self.rank + 2, max_ndim=most, axes=axes)
        self._check_size(inputs_shape)
        self.build_weights(*self.weight_shapes(channels), condition_shape)

    def _check_size(self, inputs_shape: Shape) -> tuple[int | None, ...]:
        """Returns the output shape, or raises if the inputs are too small for the kernel."""
        # JAX exports represent unknown sizes by symbols.
        known = [length if isinstance(length, int) else None for length in inputs_shape]
        outputs_shape = self.compute_output_shape(tuple(known))
        # Before version 3.14, Keras accepts convolutions whose outputs have no positions.
        least = 1 if self.padding == "valid" and not isinstance(self, TRANSPOSED) else 0
        lengths = outputs_shape[-self.rank - 1 :]
        if any(length is not None and length < least for length in lengths):
            raise ValueError(
                f"The inputs of layer '{self.name}' are too small for its kernel. Received: "
                f"kernel_size={self.kernel_size}, padding='{self.padding}' and `inputs` of shape "
                f"{tuple(inputs_shape)}"
            )
        return outputs_shape

    def apply_kernels(self, kernels: Mapping[str, Kernel], inputs: Tensor) -> Tensor:
        """Returns the outputs, also for inputs with an axis of samples."""
        if len(inputs.shape) == self.rank + 2:
            return self._convolved(inputs, kernels)
        inputs, count = fold(inputs)
        return unfold(self._convolved(inputs, grouped(kernels, count)), count)

    def _convolved(self, inputs: Tensor, kernels: Mapping[str, Kernel]) -> Tensor:
        shape = self._check_size(inputs.shape)
        if 0 not in (*inputs.shape, *shape) or None in shape[1:]:
            return apply_layer(self.stock, self, kernels, inputs)
        # TensorFlow resizes empty batches, and PyTorch does not support empty images.
        kernel, *bias = kernels.values()
        zeros = ops.zeros((ops.shape(inputs)[0], *shape[1:]), inputs.dtype)
        zeros = zeros + ops.sum(inputs) * ops.sum(kernel.materialize())
        return add_bias_and_activate(self, zeros, bias[0] if bias else None)

    def compute_output_shape(
        self, inputs_shape: Shape, condition_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        """Returns the output shape."""
        if len(inputs_shape) != self.rank + 3:
            return super().compute_output_shape(inputs_shape)
        return (inputs_shape[0], *super().compute_output_shape(tuple(inputs_shape[1:])))
