"""Dense layer over any axes, with generated weights."""

import re
from typing import Any

import keras

from keras_hyper.application import axes_of, own_initializer
from keras_hyper.application.dense import einsum_axes
from keras_hyper.generators import Generator
from keras_hyper.layers.hyper_layer import HyperLayer
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Shape
from keras_hyper.utils.arguments import passed
from keras_hyper.utils.checks import wrong_type

_FORMS = re.compile(r"(X,X->X)|(\.{3}X,X->\.{3}X)|(XX\.{3},X->X\.{3})".replace("X", "[a-zA-Z]+"))


@serializable
class HyperEinsumDense(HyperLayer, keras.layers.EinsumDense):
    r"""Dense layer over any axes with a generated kernel: `y = f(einsum(x, W(e)) + b)`.

    Takes the arguments of `keras.layers.EinsumDense`, then `generator`, `embedding_dim`,
    `generate_bias` and `composition` as in `HyperDense`. The `kernel_...` arguments apply to
    the generated kernel, see `HyperDense`. A low-rank generator factorizes the kernel as a matrix,
    whose rows are the axes that the equation sums over.

    Call arguments:
        inputs: Floating point tensor with the axes of the equation, the batch first.
        condition, training: See `HyperDense`.

    Output shape:
        The shape that the equation gives.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the inputs or the condition are integer tensors.

    Examples:
        Per-sample projections to queries of 2 heads:

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
            raise wrong_type("equation", equation, "a string, such as 'ab,bc->ac'")
        super().__init__(**passed(locals()))
        self._check_equation()
        self.input_axes, self.unit_axes = axes_of(self, "kernel")
        if len(self._named_axes()) != len(self.partial_output_shape):
            raise ValueError(
                f"`output_shape` must have a length for each output axis in "
                f"'{self._named_axes()}'. Received: equation={equation!r}, "
                f"output_shape={output_shape}"
            )

    def _check_equation(self) -> None:
        """Raises if the stock layer does not support the equation or the axes of the bias."""
        if not _FORMS.fullmatch(self.equation):
            raise ValueError(
                "`equation` must have the form 'X,Y->Z', '...X,Y->...Z' or 'X...,Y->Z...', without "
                f"spaces. Received: equation='{self.equation}'"
            )
        into, axes, out = einsum_axes(self.equation, 0)
        if out[0] not in into and not self.equation.startswith("..."):
            raise ValueError(
                "The first output axis must be the batch axis of the inputs. Received: "
                f"equation='{self.equation}'"
            )
        for name, inner, outer in (("output", out, into + axes), ("kernel", axes, into + out)):
            if unknown := [axis for axis in inner if axis not in outer]:
                raise ValueError(
                    f"The length of {name} axis '{unknown[0]}' is unknown: no other part of "
                    f"the equation has the axis. Received: equation='{self.equation}'"
                )
        if self.bias_axes is not None and not set() < {*self.bias_axes} <= {*out}:
            raise ValueError(
                f"`bias_axes` must be output axes, some of '{out}'. Received: "
                f"bias_axes='{self.bias_axes}', equation='{self.equation}'"
            )

    def _named_axes(self) -> str:
        """Returns the output axes whose lengths `output_shape` gives."""
        axes: str = self.equation.partition("->")[2].replace("...", "")
        # The batch axis is the first one, or a part of the ellipsis.
        return axes if self.equation.startswith("...") else axes[1:]

    @property
    def use_bias(self) -> bool:
        """Whether the layer has a bias."""
        return self.bias_axes is not None

    def about_kernel(self, name: str) -> Any:
        """Returns an argument about the kernel, such as its `"regularizer"`."""
        value = super().about_kernel(name)
        return own_initializer(self, "kernel", value) if name == "initializer" else value

    def build(self, inputs_shape: Shape, condition_shape: Shape | None = None) -> None:
        """Creates the weights."""
        outputs_shape = self.compute_output_shape(inputs_shape)
        into, axes, out = einsum_axes(self.equation, len(inputs_shape))
        lengths: dict[str, Any] = dict(zip(into, inputs_shape, strict=True))
        for axis, length in zip(out, outputs_shape, strict=True):
            lengths[axis] = lengths.get(axis) or length
        kernel_shape = tuple(lengths[axis] for axis in axes)
        if None in kernel_shape:
            raise ValueError(
                f"The axes of the kernel of layer '{self.name}' must be known. Received: `inputs` "
                f"of shape {tuple(inputs_shape)}, equation='{self.equation}' and "
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

    def compute_output_shape(
        self, inputs_shape: Shape, condition_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        """Returns the output shape."""
        # The stock layer knows it only after its own `build`, before Keras 3.15.
        into, _, out = einsum_axes(self.equation, len(inputs_shape))
        if len(into) != len(inputs_shape):
            raise ValueError(
                f"The inputs of layer '{self.name}' must have the axes of the equation. Received: "
                f"`inputs` of shape {tuple(inputs_shape)}, equation='{self.equation}'"
            )
        lengths = dict(zip(into, inputs_shape, strict=True))
        given = dict(zip(self._named_axes(), self.partial_output_shape, strict=True))
        if wrong := [axis for axis in into if given.get(axis) not in (None, lengths[axis])]:
            raise ValueError(
                f"`output_shape` differs from the inputs at axis '{wrong[0]}'. Received: `inputs` "
                f"of shape {tuple(inputs_shape)}, equation='{self.equation}' and "
                f"output_shape={self.partial_output_shape}"
            )
        return tuple({**lengths, **given}[axis] for axis in out)
