"""Checks of the generator and the condition of a generated weight."""

from collections.abc import Sequence

from keras_hyper.generators import Generator
from keras_hyper.typing import Shape, Tensor
from keras_hyper.utils.checks import floating, wrong_type

_IDS = "Pass task ids through keras_hyper.TaskEmbedding."


def as_generator(generator: object) -> Generator:
    """Returns `generator`, or raises if it is not a `Generator`."""
    if not isinstance(generator, Generator):
        expected = "a keras_hyper Generator, such as `LinearGenerator()`"
        raise wrong_type("generator", generator, expected)
    return generator


def as_unit_axes(axes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Returns `unit_axes` as non-negative axes, or raises if the weight lacks one."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    if rank == 0:
        return ()  # A scalar has no axes and is a unit itself.
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
            f"condition={condition!r} (of type {type(condition).__name__}). {_IDS}"
        )


def check_condition_shape(shape: Shape) -> None:
    """Raises if `shape` is no valid shape of a condition."""
    if len(shape) not in (1, 2) or not shape[-1]:
        raise ValueError(
            "`condition` must have shape (batch, dim), for per-sample weights, or (dim,), for "
            "the same weights for the whole batch, with a known dim. Received: `condition` of "
            f"shape {tuple(shape)}"
        )


def check_condition(condition: Tensor | None, width: int | None, path: str) -> None:
    """Raises unless a condition has the width of a conditioned weight, or is None if static."""
    if condition is None and width is None:
        return
    if condition is None:
        raise ValueError(
            f"'{path}' was built with a condition of width {width}. Received: condition=None. "
            "Pass `condition=...`, or create another layer for static weights."
        )
    if width is None:
        raise ValueError(
            f"'{path}' was built without a condition. Received: `condition` of shape "
            f"{tuple(condition.shape)}. The first call fixes whether a layer is static or "
            "conditioned. Create another layer and pass the condition in its first call."
        )
    check_condition_shape(condition.shape)
    if condition.shape[-1] != width:
        raise ValueError(
            f"'{path}' was built for a `condition` of width {width}. Received: `condition` of "
            f"shape {tuple(condition.shape)}. Pass a condition of the width of the first call, or "
            "create another layer."
        )
    floating("condition", condition, _IDS)
