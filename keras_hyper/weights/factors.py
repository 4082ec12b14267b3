"""Kernels from the tensors or factors that `generate` returns."""

from collections.abc import Mapping

from keras import ops

from keras_hyper.kernels import Full, Kernel, LowRank, Scaled, Sum, as_shape
from keras_hyper.typing import Shape, Tensor
from keras_hyper.utils.checks import wrong_type
from keras_hyper.weights.generated_weight import GeneratedWeight

Value = Tensor | Mapping[str, Tensor]


def kernels_of(
    weights: Mapping[str, GeneratedWeight], values: Mapping[str, Value]
) -> dict[str, Kernel]:
    """Returns the kernels of generated weights, from a tensor or a dict of factors for each path.

    Raises:
        TypeError: If `values` is not a dict.
        ValueError: If a weight is missing or unknown, or its value does not fit.
    """
    if not isinstance(values, Mapping):
        expected = "a dict from path to tensor, as `generate` returns it"
        raise wrong_type("weights", values, expected)
    missing, unknown = sorted(set(weights) - set(values)), sorted(set(values) - set(weights))
    if missing or unknown:
        raise ValueError(
            "`weights` must have a tensor for each of `generated_weights`. Missing: "
            f"{missing}. Unknown: {unknown}"
        )
    return {path: _kernel(weights[path], path, value) for path, value in values.items()}


def _kernel(weight: GeneratedWeight, path: str, value: Value) -> Kernel:
    name, shape = f"weights['{path}']", weight.weight_shape
    if not isinstance(value, Mapping):
        return _full(name, value, weight)
    forms = [["scale"]] if weight.composition == "scale" else [["value"], ["left", "right"]]
    if sorted(value) not in forms:
        raise ValueError(
            f"`{name}` must be a tensor, or a dict of factors from `generate(..., factored=True)` "
            f"with the keys {' or '.join(map(str, forms))}. Received: {sorted(value)}"
        )
    if "scale" in value:
        scale = _tensor(f"{name}['scale']", value["scale"], weight.generated_shape, weight)
        return Scaled(weight.base_value(), scale, weight.unit_axes)
    if "value" in value:
        change: Kernel = _full(f"{name}['value']", value["value"], weight)
    else:
        rows, columns = as_shape(shape, *weight.matrix_axes)
        rank = value["left"].shape[-1]
        left = _tensor(f"{name}['left']", value["left"], (rows, rank), weight)
        right = _tensor(f"{name}['right']", value["right"], (rank, columns), weight)
        if len(left.shape) != len(right.shape):
            raise ValueError(
                f"Both factors of `{name}` must have a leading batch axis, or neither. "
                f"Received: tensors of shapes {tuple(left.shape)} and {tuple(right.shape)}"
            )
        change = LowRank(left, right, shape, weight.matrix_axes[0])
    composed = weight.composition != "replace" and not weight.base_outside
    return Sum(weight.base_value(), change) if composed else change


def _full(name: str, value: Tensor, weight: GeneratedWeight) -> Full:
    tensor = _tensor(name, value, weight.weight_shape, weight)
    return Full(tensor, batched=len(tensor.shape) > len(weight.weight_shape))


def _tensor(name: str, value: Tensor, shape: Shape, weight: GeneratedWeight) -> Tensor:
    """Returns a tensor in the compute dtype of a weight, or raises if its shape is wrong."""
    tensor = ops.cast(ops.convert_to_tensor(value), weight.compute_dtype)
    found = tuple(tensor.shape)
    if tuple(shape) not in (found, found[1:]):
        raise ValueError(
            f"`{name}` must have shape {tuple(shape)}, with or without a leading batch axis. "
            f"Received: a tensor of shape {found}"
        )
    return tensor
