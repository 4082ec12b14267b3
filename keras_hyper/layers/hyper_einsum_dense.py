"""A dense layer over any axes, with generated weights."""

from collections.abc import Callable
from typing import Any

import keras

from keras_hyper.application import axes_of, own_initializer
from keras_hyper.application.dense import einsum_axes
from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Shape
from keras_hyper.utils.arguments import passed


@serializable
class HyperEinsumDense(HyperLayer, keras.layers.EinsumDense):
    r"""A dense layer over any axes whose kernel is generated: `y = f(einsum(x, W(e)) + b)`.

    `layer(x)` is static: the kernel is made from an embedding that the layer learns. In
    `layer(x, condition)` a condition of shape `(batch, dim)` gives each sample its own kernel, and
    one of shape `(dim,)` gives one kernel to the batch. The first call decides which it is.

    A generator of factors makes those of the matrix of the axes that the equation sums over by
    those that it adds: two thin products, however many axes these are.

    Args:
        equation: String, such as `"abc,cde->abde"`.
        output_shape: Integer or tuple of integers and None, the shape of the outputs without the
            batch axis, and without the axes of an ellipsis.
        activation: Activation function.
        bias_axes: String, the axes of the outputs that the bias has; None for no bias.
        kernel_initializer: Initializer whose variance the generated kernel starts with.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of the generated kernel; its mean over per-sample kernels.
        bias_regularizer: Regularizer of the bias.
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
        inputs: Floating point tensor with the axes of the equation, the batch first.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.
        training: Boolean, passed on to the generator.

    Output shape:
        That of the equation.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the generator cannot
            make it, or if a condition does not fit.
        TypeError: If the inputs or the condition are integers.

    Examples:
        Queries of 2 heads, from another projection for each sample:

        >>> import keras
        >>> from keras_hyper import HyperEinsumDense, LowRankGenerator
        >>> query = HyperEinsumDense(
        ...     "abc,cde->abde", (None, 2, 8), bias_axes="de", generator=LowRankGenerator(rank=2)
        ... )
        >>> x, context = keras.random.normal((4, 5, 16)), keras.random.normal((4, 3))
        >>> tuple(query(x, condition=context).shape)
        (4, 5, 2, 8)
    """

    stock = keras.layers.EinsumDense

    def __init__(
        self,
        equation: str,
        output_shape: int | Shape,
        activation: Activation = None,
        bias_axes: str | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        generator: Generator | None = None,
        embedding_dim: int | None = None,
        generate_bias: bool = False,
        composition: str = "replace",
        **kwargs: Any,
    ) -> None:
        if not isinstance(equation, str):
            raise TypeError(
                "`equation` must be a string, such as 'ab,bc->ac'. Received: "
                f"equation={equation!r} (of type {type(equation).__name__})"
            )
        super().__init__(**passed(locals()))
        self.input_axes, self.unit_axes = axes_of(self, "kernel")
        if len(self._named_axes()) != len(self.partial_output_shape):
            raise ValueError(
                f"`output_shape` must have a length for each of the axes '{self._named_axes()}' of "
                f"the outputs. Received: equation={equation!r}, output_shape={output_shape}"
            )

    def _named_axes(self) -> str:
        """Returns the axes of the outputs that `output_shape` has."""
        axes: str = self.equation.replace(" ", "").partition("->")[2].replace("...", "")
        # The batch is the first axis, or belongs to the ellipsis.
        return axes if self.equation.startswith("...") else axes[1:]

    @property
    def use_bias(self) -> bool:
        """Whether a bias is added."""
        return self.bias_axes is not None

    def about_kernel(self, name: str) -> Callable[..., Any] | None:
        """Returns an argument about the kernel, such as its `"regularizer"`."""
        value = super().about_kernel(name)
        return own_initializer(self, "kernel", value) if name == "initializer" else value

    def build(self, inputs_shape: Shape, condition_shape: Shape | None = None) -> None:
        """Creates the generated weights for the axes of the equation."""
        # Keras checks the equation there.
        self.compute_output_shape(tuple(inputs_shape))
        into, axes, out = einsum_axes(self.equation, len(inputs_shape))
        lengths = dict(zip(self._named_axes(), self.partial_output_shape, strict=True))
        for axis, length in zip(into, inputs_shape, strict=True):
            lengths[axis] = lengths.get(axis) or length
        kernel_shape = tuple(lengths[axis] for axis in axes)
        if None in kernel_shape:
            raise ValueError(
                f"The axes of the kernel of layer '{self.name}' must be known. Received: `inputs` "
                f"of shape {tuple(inputs_shape)}, for equation='{self.equation}' and "
                f"output_shape={self.partial_output_shape}"
            )
        bias_shape = None
        if self.bias_axes is not None:
            first = min(out.index(axis) for axis in self.bias_axes)
            bias_shape = tuple(
                lengths[axis] if axis in self.bias_axes else 1 for axis in out[first:]
            )
        self.input_spec = keras.layers.InputSpec(ndim=len(inputs_shape))
        self.build_weights(kernel_shape, bias_shape, condition_shape)
