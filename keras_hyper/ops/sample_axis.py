"""Inputs and outputs with a sample axis after the condition axis."""

import keras
from keras import ops

from keras_hyper.typing import Tensor, Tensors


def fold(inputs: Tensors) -> tuple[Tensors, Tensor]:
    """Merges the two leading axes, and returns the result and the number of samples.

    Args:
        inputs: Structure of tensors of shape `(conditions, samples, ...)`.
    """
    counts = [ops.shape(x)[1] for x in keras.tree.flatten(inputs) if x is not None]
    known = {count for count in counts if isinstance(count, int)}
    if len(known) > 1:
        raise ValueError(
            "All inputs must have the shape (conditions, samples, ...), with the same number of "
            f"samples. Received numbers of samples: {sorted(known)}"
        )

    def folded(x: Tensor) -> Tensor:
        return None if x is None else ops.reshape(x, (-1, *ops.shape(x)[2:]))

    return keras.tree.map_structure(folded, inputs), counts[0]


def unfold(outputs: Tensors, count: Tensor) -> Tensors:
    """Returns outputs of shape `(conditions * samples, ...)` with an axis of `count` samples."""
    return keras.tree.map_structure(
        lambda x: ops.reshape(x, (-1, count, *ops.shape(x)[1:])), outputs
    )


def folded_spec(inputs: Tensors) -> Tensors:
    """Returns symbolic folded inputs, or raises if there is no sample axis."""

    def folded(x: Tensor) -> keras.KerasTensor | None:
        if x is None:
            return None
        if len(x.shape) < 2:
            raise ValueError(
                "With sample_axis=True, inputs must have the shape (conditions, samples, ...). "
                f"Received: an input of shape {tuple(x.shape)}"
            )
        conditions, samples, *rest = x.shape
        count = None if None in (conditions, samples) else conditions * samples
        dtype = keras.backend.standardize_dtype(x.dtype)
        return keras.KerasTensor((count, *rest), dtype=dtype)

    return keras.tree.map_structure(folded, inputs)


def spec_with_axis(x: keras.KerasTensor) -> keras.KerasTensor:
    """Returns a symbolic input with a sample axis of unknown size."""
    return keras.KerasTensor((x.shape[0], None, *x.shape[1:]), dtype=x.dtype, name=x.name)


def unfolded_spec(outputs: Tensors, inputs: Tensors) -> Tensors:
    """Returns symbolic outputs with the sample axis of the inputs."""
    lead = keras.tree.flatten(inputs)[0].shape[:2]
    return keras.tree.map_structure(
        lambda x: keras.KerasTensor((*lead, *x.shape[1:]), dtype=x.dtype), outputs
    )


def with_axis(shapes: Tensors) -> Tensors:
    """Returns shapes with a sample axis of unknown size."""
    return keras.tree.map_shape_structure(lambda s: (s[0], None, *s[1:]), shapes)


def without_axis(shapes: Tensors) -> Tensors:
    """Returns shapes without the sample axis."""
    return keras.tree.map_shape_structure(lambda s: (None, *s[2:]), shapes)
