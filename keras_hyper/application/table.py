"""The table from layer classes to the functions that apply them with given weights."""

from collections.abc import Callable, Mapping

import keras

from keras_hyper.application import convolutions, dense, embedding, normalizations, recurrent
from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensors

# Called with a layer, its weights by name, and the arguments of the layer's `call`.
Application = Callable[..., Tensors]

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
# A subclass may change the convolution alone.
_CONV = (convolutions.conv, ("call", "convolution_op"))
_applications |= dict.fromkeys(convolutions.CONVOLUTIONS, _CONV)
# Not in every version of Keras.
if hasattr(keras.layers, "ReversibleEmbedding"):
    _applications[keras.layers.ReversibleEmbedding] = (embedding.reversible_embedding, ("call",))


def register_application(
    layer_class: type[keras.Layer], *methods: str
) -> Callable[[Application], Application]:
    """Registers the function that applies a class of layers with given weights.

    A `Hypernetwork` applies each layer whose weights it generates for each sample, or in
    factors, by such a function, on the whole batch. A layer of a class without one is called
    once for each sample.

    Args:
        layer_class: The class. A subclass is applied by the same function if it inherits
            `call`.
        *methods: Names of other methods that a subclass must inherit for that.

    Returns:
        A decorator. The function is called with the layer, a dict of its own weights by
        variable name, each a `keras_hyper.kernels.Kernel`, and the arguments of the layer's
        `call`. It returns what `call` returns.

    Raises:
        TypeError: If `layer_class` is no class of layers.

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
            "`register_application` needs a subclass of keras.layers.Layer. Received: "
            f"layer_class={layer_class!r}"
        )

    def register(function: Application) -> Application:
        _applications[layer_class] = (function, ("call", *methods))
        return function

    return register


def application_of(layer: keras.Layer, with_lora: bool = False) -> Application | None:
    """Returns the function that applies a layer with given weights, None if there is none.

    It leaves out the product of LoRA, so that there is none for a layer that has LoRA unless
    `with_lora`.
    """
    for cls in type(layer).__mro__:
        if cls in _applications:
            function, methods = _applications[cls]
            same = all(getattr(type(layer), m, None) is getattr(cls, m, None) for m in methods)
            has_lora = getattr(layer, "lora_enabled", False)
            return function if same and (with_lora or not has_lora) else None
    return None


def apply_layer(
    cls: type[keras.Layer],
    layer: keras.Layer,
    weights: Mapping[str, Kernel],
    *args: Tensors,
    **kwargs: Tensors,
) -> Tensors:
    """Returns the outputs of a layer with given weights, as a layer of a stock class.

    The layer has the attributes of that class, and `weights` are by the names of its variables.
    """
    return _applications[cls][0](layer, weights, *args, **kwargs)
