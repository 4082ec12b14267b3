"""`Dense` and `EinsumDense` with given weights."""

import string

import keras
from keras import ops

from keras_hyper.application.bias import Weights, add_bias_and_activate
from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor


def dense(
    layer: keras.Layer, weights: Weights, inputs: Tensor, training: bool | None = None
) -> Tensor:
    """Returns the outputs of a `Dense` layer."""
    kernel = weights["kernel"]
    if kernel.batched or len(inputs.shape) > 2:
        # These products do not support sparse inputs.
        inputs = ops.convert_to_tensor(inputs, sparse=False)
    return add_bias_and_activate(layer, kernel.dense(inputs), weights.get("bias"))


def einsum_dense(
    layer: keras.Layer, weights: Weights, inputs: Tensor, training: bool | None = None
) -> Tensor:
    """Returns the outputs of an `EinsumDense` layer."""
    kernel = weights["kernel"]
    into, axes, out = einsum_axes(layer.equation, len(inputs.shape))
    if is_matrix(layer.equation):
        outputs = _by_matrix(kernel, inputs, into, axes, out)
    else:
        batch = into[0] if kernel.batched else ""
        outputs = ops.einsum(f"{into},{batch}{axes}->{out}", inputs, kernel.materialize())
    return add_bias_and_activate(layer, outputs, weights.get("bias"))


def _by_matrix(kernel: Kernel, inputs: Tensor, into: str, axes: str, out: str) -> Tensor:
    """Returns the product with the kernel as a matrix, which may be in factors."""
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
    """Returns the axes of inputs, kernel and outputs as letters, for inputs of a given rank."""
    into, _, rest = equation.replace(" ", "").partition(",")
    axes, _, out = rest.partition("->")
    others = (letter for letter in string.ascii_letters if letter not in equation)
    spare = "".join(next(others) for _ in range(rank - len(into.replace("...", ""))))
    return into.replace("...", spare), axes, out.replace("...", spare)


def kernel_axes(equation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Returns the axes of the kernel that the equation sums over, and the other axes."""
    _, axes, out = einsum_axes(equation, 0)
    summed = tuple(i for i, axis in enumerate(axes) if axis not in out)
    return summed, tuple(i for i in range(len(axes)) if i not in summed)


def is_matrix(equation: str) -> bool:
    """Returns whether an `EinsumDense` layer multiplies rows by one matrix.

    Inputs, kernel and outputs must not share an axis, and outputs must have the batch axis.
    """
    into, axes, out = einsum_axes(equation, 0)
    starts = equation.startswith("...") or into[0] in out
    kept = all(axis in axes or axis in out for axis in into)
    # An axis of the kernel is either in the inputs or in the outputs.
    either = all((axis in into) != (axis in out) for axis in axes)
    return starts and kept and either and len({*axes}) == len(axes)
