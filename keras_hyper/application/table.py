"""Functions that apply layers with given weights, and axes of the weights, by layer class."""

from collections.abc import Callable, Sequence

import keras

from keras_hyper.application import convolutions, dense, embedding, normalizations, recurrent
from keras_hyper.application.bias import Weights
from keras_hyper.typing import Tensors

# A function of a layer, its weights, and the arguments of its `call`.
Application = Callable[..., Tensors]

# The functions, and the methods that a subclass must inherit.
_applications: dict[type[keras.Layer], tuple[Application, tuple[str, ...]]] = {
    cls: (function, ("call",))
    for function, classes in (
        (dense.dense, [keras.layers.Dense]),
        (dense.einsum_dense, [keras.layers.EinsumDense]),
        (embedding.embedding, [keras.layers.Embedding]),
        (convolutions.depthwise_conv, convolutions.DEPTHWISE),
        (convolutions.separable_conv, convolutions.SEPARABLE),
        (convolutions.conv_transpose, convolutions.TRANSPOSED),
        (normalizations.scale_and_offset, normalizations.NORMALIZATIONS),
        (normalizations.batch_normalization, [keras.layers.BatchNormalization]),
        (normalizations.prelu, [keras.layers.PReLU]),
        (recurrent.lstm_cell, [keras.layers.LSTMCell]),
        (recurrent.gru_cell, [keras.layers.GRUCell]),
        (recurrent.simple_rnn_cell, [keras.layers.SimpleRNNCell]),
    )
    for cls in classes
}
# A subclass may override only the convolution.
_CONV = (convolutions.conv, ("call", "convolution_op"))
_applications |= dict.fromkeys(convolutions.CONVOLUTIONS, _CONV)
# Older versions of Keras do not have this class.
if hasattr(keras.layers, "ReversibleEmbedding"):
    _applications[keras.layers.ReversibleEmbedding] = (embedding.reversible_embedding, ("call",))


def register_application(
    layer_class: type[keras.Layer], *methods: str
) -> Callable[[Application], Application]:
    """Registers a function that applies a class of layers with given weights.

    `Hypernetwork` applies a layer with this function if its weights are per-sample, or in factors.
    The function processes the whole batch. Layers without a function are called once per sample.

    Args:
        layer_class: A subclass of `keras.layers.Layer`. The function also applies subclasses that
            inherit `call`.
        *methods: Names of other methods that subclasses must inherit as well.

    Returns:
        A decorator. It takes a function of the layer, a dict of its weights, and the arguments of
        `call`. The dict maps variable names to `keras_hyper.kernels.Kernel` objects. The function
        returns the outputs of `call`.

    Raises:
        TypeError: If `layer_class` is not a layer class.

    Examples:
        >>> import keras
        >>> from keras_hyper import register_application
        >>> @keras.saving.register_keras_serializable("docs")
        ... class Gain(keras.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.gain = self.add_weight(shape=input_shape[-1:], name="gain")
        ...     def call(self, inputs):
        ...         return inputs * self.gain
        >>> @register_application(Gain)
        ... def apply_gain(layer, weights, inputs):
        ...     gain = weights["gain"]
        ...     value = gain.materialize()
        ...     return inputs * (value[:, None, :] if gain.batched else value)
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise TypeError(
            "`layer_class` must be a subclass of keras.layers.Layer. Received: "
            f"layer_class={layer_class!r}"
        )

    def register(function: Application) -> Application:
        _applications[layer_class] = (function, ("call", *methods))
        return function

    return register


def application_of(layer: keras.Layer, with_lora: bool = False) -> Application | None:
    """Returns the function that applies a layer with given weights, None if there is none.

    The functions ignore LoRA. The result for a layer with LoRA is None unless `with_lora`.
    """
    if getattr(layer, "lora_enabled", False) and not with_lora:
        return None
    for cls in type(layer).__mro__:
        if cls in _applications:
            function, methods = _applications[cls]
            same = all(getattr(type(layer), m, None) is getattr(cls, m, None) for m in methods)
            return function if same else None
    return None


def apply_layer(
    cls: type[keras.Layer], layer: keras.Layer, weights: Weights, *args: Tensors, **kwargs: Tensors
) -> Tensors:
    """Returns the outputs of a layer that has the attributes and weights of a stock class."""
    return _applications[cls][0](layer, weights, *args, **kwargs)


def axes_of(layer: keras.Layer, name: str) -> tuple[Sequence[int] | None, Sequence[int]]:
    """Returns the axes of a named weight that its product sums over, and those that number units.

    The first ones are None if they are all axes but the last.
    """
    if isinstance(layer, keras.layers.EinsumDense) and name == "kernel":
        inputs, units = dense.kernel_axes(layer.equation)
        return (inputs if dense.is_matrix(layer.equation) else None), (units or (-1,))
    if isinstance(layer, convolutions.TRANSPOSED) and name == "kernel":
        return None, (-2,)
    depthwise = isinstance(layer, convolutions.DEPTHWISE) and name == "kernel"
    return None, (-2, -1) if depthwise or name == "depthwise_kernel" else (-1,)


def own_initializer(
    layer: keras.Layer, name: str, initializer: keras.Initializer
) -> keras.Initializer:
    """Returns the initializer that a layer uses for a weight, given its initializer argument.

    In newer versions of Keras, `EinsumDense` sets the input and output axes of the initializer.
    """
    by_axes = hasattr(initializer, "input_axes") and initializer.input_axes is None
    if not (isinstance(layer, keras.layers.EinsumDense) and name == "kernel" and by_axes):
        return initializer
    inputs, units = dense.kernel_axes(layer.equation)
    config = {**initializer.get_config(), "input_axes": inputs, "output_axes": units}
    return type(initializer).from_config(config)
