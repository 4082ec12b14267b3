"""Dense and EinsumDense with given weights."""

import string
from collections.abc import Mapping

import keras
from keras import ops

from keras_hyper.application.bias import add_bias_and_activate
from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor


def dense(
    layer: keras.layers.Dense,
    weights: Mapping[str, Kernel],
    inputs: Tensor,
    training: bool | None = None,
) -> Tensor:
    """Returns the outputs of a `Dense` layer."""
    kernel = weights["kernel"]
    if kernel.batched or len(inputs.shape) > 2:
        # There are no sparse products of these.
        inputs = ops.convert_to_tensor(inputs, sparse=False)
    return add_bias_and_activate(layer, kernel.dense(inputs), weights.get("bias"))


def einsum_dense(
    layer: keras.layers.EinsumDense,
    weights: Mapping[str, Kernel],
    inputs: Tensor,
    training: bool | None = None,
) -> Tensor:
    """Returns the outputs of an `EinsumDense` layer."""
    into, axes, out = einsum_axes(layer.equation, len(inputs.shape))
    product = _by_matrix if is_matrix(layer.equation) else _by_equation
    outputs = product(weights["kernel"], inputs, into, axes, out)
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def _by_equation(kernel: Kernel, inputs: Tensor, into: str, axes: str, out: str) -> Tensor:
    """Returns the product with the kernel written out."""
    batch = into[0] if kernel.batched else ""
    return ops.einsum(f"{into},{batch}{axes}->{out}", inputs, kernel.materialize())


def _by_matrix(kernel: Kernel, inputs: Tensor, into: str, axes: str, out: str) -> Tensor:
    """Returns the product with the kernel as a matrix of the axes summed over by the others."""
    summed = [axis for axis in axes if axis not in out]
    units = [axis for axis in axes if axis in out]
    lead = [axis for axis in into if axis in out]
    # (batch, ..., summed) by (summed, units) is (batch, ..., units).
    order = [into.index(axis) for axis in (*lead, *summed)]
    if order != sorted(order):
        inputs = ops.transpose(inputs, order)
    lengths = ops.shape(inputs)[: len(lead)]
    rows, columns = ([axes.index(axis) for axis in part] for part in (summed, units))
    matrix = kernel.matrix(rows, columns)
    outputs = matrix.dense(ops.reshape(inputs, (*lengths, matrix.shape[0])))
    outputs = ops.reshape(outputs, (*lengths, *(kernel.shape[axis] for axis in columns)))
    now = [*lead, *units]
    if now != list(out):
        outputs = ops.transpose(outputs, [now.index(axis) for axis in out])
    return outputs


def einsum_axes(equation: str, rank: int) -> tuple[str, str, str]:
    """Returns the axes of inputs of a rank, kernel and outputs as letters, without an ellipsis."""
    into, _, rest = equation.replace(" ", "").partition(",")
    axes, _, out = rest.partition("->")
    others = (letter for letter in string.ascii_letters if letter not in equation)
    spare = "".join(next(others) for _ in range(rank - len(into.replace("...", ""))))
    return into.replace("...", spare), axes, out.replace("...", spare)


def kernel_axes(equation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns which axes of the kernel of an `EinsumDense` layer are summed over, and which not."""
    _, axes, out = einsum_axes(equation, 0)
    summed = tuple(i for i, axis in enumerate(axes) if axis not in out)
    return summed, tuple(i for i in range(len(axes)) if i not in summed)


def is_matrix(equation: str) -> bool:
    """Returns whether an `EinsumDense` layer is a product of rows with one matrix.

    It is not if the kernel has an axis in common with inputs and outputs, or if the inputs
    do not start with an axis of the outputs alone.
    """
    into, axes, out = einsum_axes(equation, 0)
    both = [axis for axis in axes if axis in into and axis in out]
    lost = [axis for axis in into if axis not in axes and axis not in out]
    if both or lost or (not equation.startswith("...") and into[0] not in out):
        return False
    return len({*axes}) == len(axes) and all(axis in into or axis in out for axis in axes)
