"""Checks of what a generated weight is made by, and of what it depends on."""

from collections.abc import Sequence

from keras_hyper.generators import Generator
from keras_hyper.typing import Shape, Tensor
from keras_hyper.utils.checks import floating


def as_generator(generator: object) -> Generator:
    """Returns a generator, or raises if it is none."""
    if not isinstance(generator, Generator):
        raise TypeError(
            "`generator` must be a keras_hyper Generator, such as LinearGenerator() or "
            f"TiledKernelGenerator(...), or None. Received: generator={generator!r} (of type "
            f"{type(generator).__name__})"
        )
    return generator


def as_unit_axes(axes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Returns `unit_axes` counted from the front, or raises if the weight lacks one."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    if rank == 0:
        return ()  # A single number has no axes, and is a unit itself.
    if not axes or not all(isinstance(axis, int) and -rank <= axis < rank for axis in axes):
        raise ValueError(
            f"`unit_axes` must name one or more of the {rank} axes of the weight. Received: "
            f"unit_axes={axes}"
        )
    return tuple(axis % rank for axis in axes)


def check_condition_type(condition: object) -> None:
    """Raises if a condition is neither None nor a tensor or an array."""
    if condition is not None and not hasattr(condition, "shape"):
        raise TypeError(
            "`condition` must be a tensor or an array. Received: "
            f"condition={condition!r} (of type {type(condition).__name__}). Task ids go through "
            "keras_hyper.TaskEmbedding."
        )


def check_condition_shape(shape: Shape) -> None:
    """Raises if a condition of this shape can never be one."""
    if len(shape) not in (1, 2) or not shape[-1]:
        raise ValueError(
            "`condition` must have shape (batch, dim), for per-sample weights, or (dim,), for "
            "one set of weights for the batch, with a known dim. Received: `condition` of shape "
            f"{tuple(shape)}"
        )


def check_condition(condition: Tensor | None, width: int | None, path: str) -> None:
    """Raises if a condition is not what a weight was built for.

    Args:
        condition: The condition of a call, or None.
        width: The width that the weight was built for, None for a static weight.
        path: Path of the weight.
    """
    if condition is None:
        if width is not None:
            raise ValueError(
                f"'{path}' was built with a condition of width {width} and needs one at every "
                "call. Received: condition=None. Pass `condition=`, or make another layer for "
                "weights without a condition."
            )
        return
    if width is None:
        raise ValueError(
            f"'{path}' was built without a condition. Received: `condition` of shape "
            f"{tuple(condition.shape)}. Whether a layer is static or conditioned is fixed by "
            "its first call: make another layer and call it with the condition from the start."
        )
    check_condition_shape(condition.shape)
    if condition.shape[-1] != width:
        raise ValueError(
            f"'{path}' was built for a `condition` of width {width}. Received: `condition` of "
            f"shape {tuple(condition.shape)}. The first call sets the width: pass a condition of "
            "that width, or make another layer for this one."
        )
    floating("condition", condition, "Task ids go through keras_hyper.TaskEmbedding.")
