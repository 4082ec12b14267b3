"""Dense layer with generated weights."""

from typing import Any

import keras

from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Shape, Tensor
from keras_hyper.utils.arguments import passed


@serializable
class HyperDense(HyperLayer, keras.layers.Dense):
    r"""Dense layer with a generated kernel: `y = f(x W(e) + b)`.

    Called as `layer(x)`, the layer is static: it learns the embedding `e` of its kernel. Called as
    `layer(x, condition)`, it is conditioned: the condition shifts `e`. A condition of shape
    `(batch, dim)` gives per-sample kernels, and one of shape `(dim,)` gives one kernel for the
    batch. The first call fixes whether the layer is static or conditioned.

    Takes the arguments of `keras.layers.Dense`, and those listed here.

    Args:
        units: Integer, width of the output.
        kernel_initializer: Initializer that sets the initial variance of the generated kernel.
        kernel_regularizer: Regularizer of the generated kernel. The penalty of per-sample kernels
            is their mean, and is unsupported inside recurrent cells.
        kernel_constraint: Must be None, because constraints project variables.
        bias_constraint: Constraint of the bias. Must be None if the bias is generated.
        generator: `Generator` of the kernel, which several layers may share. None (default): the
            layer creates its own, which usually stores at most half as many parameters as the
            kernel has (see `default_generator`).
        embedding_dim: Integer or None, embedding width of the layer's own generator.
        generate_bias: Whether to generate the bias, too: `b = b_0 + P c`. `bias_initializer`
            initializes `b_0`, and `P` starts at zero.
        composition: `"replace"`: the generated values are the kernel. `"add"`, `"multiply"` and
            `"scale"` modify a stored kernel, see `GeneratedWeight`.
        **kwargs: `base_trainable=False` freezes the stored kernel of a composition. Other
            arguments are those of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, ..., in)` and of any numeric type. May be sparse on
            TensorFlow and JAX.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        `(batch, ..., units)`.

    Raises:
        ValueError: If an argument is unsupported for a generated kernel, the generator cannot make
            the kernel, or the condition does not fit.
        TypeError: If the condition is an integer tensor.

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
        """Creates the weights."""
        fan_in = inputs_shape[-1] if inputs_shape else None
        if fan_in is None:
            raise ValueError(
                f"The last axis of the inputs of layer '{self.name}' must be known. Received: "
                f"`inputs` of shape {tuple(inputs_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: fan_in})
        self.build_weights((fan_in, self.units), (self.units,), condition_shape)

    def check_inputs(self, inputs: Tensor) -> None:
        """Accepts any numeric type, like the stock layer."""
