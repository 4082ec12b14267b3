"""What all convolutions with generated kernels share."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_hyper.kernels import Kernel
from keras_hyper.layers.hyper_layer import HyperLayer


class HyperBaseConv(HyperLayer):
    """Base of the convolutions of every kind whose kernels are generated.

    A subclass inherits from it and from the stock convolution, which sets
    `rank`, `kernel_size` and the rest. It says which shapes its weights have
    (`weight_shapes`) and how they are applied (`convolve`).

    Args:
        *args: Positional arguments of the stock convolution.
        **kwargs: Its keyword arguments, and those of `HyperLayer`.

    Call arguments:
        inputs: What the stock convolution takes.
        condition: None, or a floating point tensor of shape `(batch, dim)` or
            `(dim,)`.

    Output shape:
        That of the stock convolution.

    Raises:
        ValueError: As `HyperLayer`; and if the number of channels is unknown, or
            nothing is left of the inputs.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Keras uses both without a check of their types.
        padding, groups = kwargs.get("padding", "valid"), kwargs.get("groups", 1)
        if not isinstance(padding, str):
            raise ValueError(f"`padding` must be a string. Received: padding={padding!r}")
        if not isinstance(groups, int):
            raise ValueError(f"`groups` must be a positive integer. Received: groups={groups!r}")
        super().__init__(*args, **kwargs)
        # Patches would take a missing batch axis for a spatial one.
        self.input_spec = keras.layers.InputSpec(ndim=self.rank + 2)

    def weight_shapes(self, channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Returns the shapes of kernel and bias for a number of input channels."""
        raise NotImplementedError(f"{type(self).__name__} must implement `weight_shapes`.")

    def convolve(self, kernel: Kernel, inputs: Any) -> Any:
        """Returns the inputs, convolved with the kernel."""
        raise NotImplementedError(f"{type(self).__name__} must implement `convolve`.")

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in inputs and outputs."""
        return -1 if self.data_format == "channels_last" else 1

    def build(self, inputs_shape: Any, condition_shape: Any = None) -> None:
        """Creates the slots for inputs of a known number of channels."""
        known = len(inputs_shape) == self.rank + 2
        channels = inputs_shape[self.channel_axis] if known else None
        if channels is None:
            raise ValueError(
                f"The number of channels of the inputs of layer '{self.name}' must be known. "
                f"Received: `inputs` of shape {tuple(inputs_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(
            ndim=self.rank + 2, axes={self.channel_axis: channels}
        )
        kernel_shape, bias_shape = self.weight_shapes(channels)
        self._check_size(inputs_shape)
        self.build_weights(kernel_shape, bias_shape, condition_shape)

    def _check_size(self, inputs_shape: Any) -> tuple[int | None, ...]:
        """Returns the shape of the outputs, or raises if there is none."""
        # JAX exports with names for sizes that are not known.
        known = [length if isinstance(length, int) else None for length in inputs_shape]
        outputs_shape = self.compute_output_shape(tuple(known))
        if any(length is not None and length < 0 for length in outputs_shape):
            raise ValueError(
                f"Nothing is left of the inputs of layer '{self.name}' with "
                f"kernel_size={self.kernel_size} and padding='{self.padding}'. Received: `inputs` "
                f"of shape {tuple(inputs_shape)}"
            )
        return outputs_shape

    def call(self, inputs: Any, condition: Any = None, training: Any = None) -> Any:
        """Returns the activations."""
        self.check_call(inputs, condition)
        shape = self._check_size(inputs.shape)
        inputs = self.promoted(inputs)
        kernel, bias = self.weights_for(condition, inputs)
        if 0 in (*inputs.shape, *shape) and None not in shape[1:]:
            # TensorFlow gives empty batches another size, and PyTorch takes no empty images.
            zeros = ops.zeros((ops.shape(inputs)[0], *shape[1:]), inputs.dtype)
            outputs = ops.sum(inputs) * ops.sum(kernel.materialize()) + zeros
        else:
            outputs = self.convolve(kernel, inputs)
        return self.finish(outputs, bias, self.channel_axis)

    def apply_kernel(
        self,
        kernel: Kernel,
        inputs: Any,
        shared: Callable[..., Any],
        per_sample: Callable[..., Any],
        **options: Any,
    ) -> Any:
        """Returns the product of inputs and kernel by one of two functions.

        Args:
            kernel: The kernel.
            inputs: Tensor of shape `(batch, ...)`.
            shared: The function for one kernel for the batch.
            per_sample: The function for a kernel for each sample.
            **options: Keyword arguments of both.
        """
        arguments = {
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": self.dilation_rate,
            **options,
        }

        def product(inputs: Any, weight: Any, batched: bool) -> Any:
            return (per_sample if batched else shared)(inputs, weight, **arguments)

        return kernel.apply(product, inputs, self.channel_axis)
