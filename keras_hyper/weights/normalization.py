"""Normalizing generated weights, and the gain that they get in return."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_hyper.initializers import weight_std
from keras_hyper.ops import at_least_float32, rms_normalize
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import name_of
from keras_hyper.utils.precision import PolicyLayer

if TYPE_CHECKING:
    from keras_hyper.weights.generated_weight import GeneratedWeight


def check_normalization(weight: "GeneratedWeight", kind: str) -> None:
    """Raises if a kind of normalization makes no sense for a weight.

    Args:
        weight: The weight, whose condition is known.
        kind: See `WeightNormalization`.
    """
    made_by, shape = f"{weight.generator} with it, for '{weight.path}'", weight.generated_shape
    if kind == "batch" and not weight.conditioned:
        raise ValueError(
            "normalization='batch' is over the weight sets of a batch of conditions. Received: "
            f"{made_by}, which has no condition. Use 'layer', 'rms' or 'weight'."
        )
    if not weight_std(weight.generated_initializer, shape):
        raise ValueError(
            f"Normalized weights cannot match the initializer {name_of(weight.initializer)} of "
            f"'{weight.path}': its standard deviation is not known, or zero."
        )
    units = weight.generated_unit_axes if kind == "weight" else ()
    together = math.prod(n for axis, n in enumerate(shape) if axis not in units)
    if together == 1 and kind != "batch":
        raise ValueError(
            f"normalization={kind!r} of one number leaves at most its sign. Received: "
            f"{made_by}, where it makes numbers of shape {shape}"
            f"{', each of them a unit' if units else ''}. Use another normalization, or None."
        )


class WeightNormalization(PolicyLayer):
    """Scales generated weights to a mean square of 1, times a learned gain.

    A part of a generated weight, which constructs it again when it is built; it has no
    configuration of its own.

    Args:
        kind: `"layer"`, `"rms"`, `"weight"` or `"batch"`, see `Generator`.
        unit_axes: The axes of a weight that number its units, from the front.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        weight: Tensor of shape `weight_shape`, or `(batch, *weight_shape)`.
        training: Boolean, whether `"batch"` takes its statistics from the batch.
    """

    def __init__(self, kind: str, unit_axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.unit_axes = tuple(unit_axes)
        self.gain: Tensor = None
        # No shift, which would be a stored weight: composition="add" has one.
        self.batch = (
            keras.layers.BatchNormalization(
                center=False, scale=False, dtype=self.dtype_policy, name="batch"
            )
            if kind == "batch"
            else None
        )

    def build(self, weight_shape: Sequence[int]) -> None:
        """Creates the gain: one number, or one for each unit."""
        shape: tuple[int, ...] = ()
        if self.kind == "weight":
            shape = tuple(n if axis in self.unit_axes else 1 for axis, n in enumerate(weight_shape))
        self.gain = self.add_weight(name="gain", shape=shape, initializer="ones")
        if self.batch is not None:
            self.batch.build((None, math.prod(weight_shape)))
        self.built = True

    def call(self, weight: Tensor, rank: int, training: bool | None = None) -> Tensor:
        """Returns the normalized weight.

        Args:
            weight: Tensor, of a weight or of a batch of them.
            rank: Number of axes of one weight.
            training: Boolean, see above.
        """
        axes = tuple(range(-rank, 0))
        if self.batch is not None:
            shape = ops.shape(weight)
            flat = ops.reshape(weight, (-1, math.prod(weight.shape[-rank:])))
            # One weight for the whole batch has no variance over conditions.
            many = len(weight.shape) > rank
            flat = self.batch(flat, training=training if many else False)
            normal = ops.reshape(flat, shape)
        elif self.kind == "weight":
            others = tuple(axis for axis in axes if axis + rank not in self.unit_axes)
            normal = rms_normalize(weight, others)
        else:
            wide = ops.cast(weight, at_least_float32(weight.dtype))
            if self.kind == "layer":
                count = math.prod(weight.shape[-rank:])
                wide = wide - ops.sum(wide, axis=axes, keepdims=True) / count
            normal = ops.cast(rms_normalize(wide, axes), weight.dtype)
        return normal * ops.cast(self.gain, normal.dtype)
