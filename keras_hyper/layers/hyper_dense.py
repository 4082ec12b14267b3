"""A dense layer with generated weights."""

from typing import Any

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Shape, Tensor
from keras_hyper.utils.arguments import passed


@serializable
class HyperDense(HyperLayer, keras.layers.Dense):
    r"""A dense layer whose kernel is generated: `y = f(x W(e) + b)`.

    `layer(x)` is static: the kernel is made from an embedding that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    Args:
        units: Integer, width of the output.
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
        inputs: Tensor of shape `(batch, ..., in)`, of numbers of any type. On TensorFlow and JAX it
            may be sparse.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the generator cannot
            make it, or if a condition does not fit.
        TypeError: If the condition has integers.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, section 3.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperDense
        >>> x = keras.random.normal((4, 16))
        >>> static = HyperDense(8, activation="relu")
        >>> tuple(static(x).shape)
        (4, 8)
        >>> conditioned = HyperDense(8)
        >>> tuple(conditioned(x, condition=keras.random.normal((4, 3))).shape)
        (4, 8)
    """

    stock = keras.layers.Dense
    sizes = ("units",)

    def __init__(
        self,
        units: int,
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

    def build(self, inputs_shape: Shape, condition_shape: Shape | None = None) -> None:
        """Creates the weights for inputs of a known last axis."""
        fan_in = inputs_shape[-1] if inputs_shape else None
        if fan_in is None:
            raise ValueError(
                f"The last axis of the inputs of layer '{self.name}' must be known. Received: "
                f"`inputs` of shape {tuple(inputs_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: fan_in})
        self.build_weights((fan_in, self.units), (self.units,), condition_shape)

    def check_inputs(self, inputs: Tensor) -> None:
        """Accepts numbers of any type, as the stock layer does."""
