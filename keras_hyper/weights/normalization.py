"""Normalization of generated weights, with a learned gain."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.initializers import weight_std
from keras_hyper.ops import at_least_float32, rms_normalize
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import name_of
from keras_hyper.utils.precision import PolicyLayer


def check_normalization(weight: keras.layers.Layer, kind: str) -> None:
    """Raises if the normalization `kind` is unsupported for a weight of known condition."""
    received = f"Received: {weight.generator} for '{weight.path}'"
    shape = weight.generated_shape
    if kind == "batch" and not weight.conditioned:
        raise ValueError(
            "normalization='batch' requires a condition, because it normalizes over the batch. "
            f"{received}, which is static. Use 'layer', 'rms' or 'weight'."
        )
    if not weight_std(weight.generated_initializer, shape):
        raise ValueError(
            f"normalization={kind!r} requires an initializer of known nonzero standard deviation. "
            f"{received}, with initializer {name_of(weight.initializer)}. Use another initializer, "
            "or normalization=None."
        )
    units = weight.generated_unit_axes if kind == "weight" else ()
    group_size = math.prod(n for axis, n in enumerate(shape) if axis not in units)
    if group_size == 1 and kind != "batch":
        raise ValueError(
            f"normalization={kind!r} of one number leaves at most its sign. {received}, which "
            f"has generated values of shape {shape}{', each of them a unit' if units else ''}. "
            "Use another normalization, or None."
        )


class WeightNormalization(PolicyLayer):
    """Normalizes generated weights to a mean square of 1 and multiplies them by a learned gain.

    `GeneratedWeight.build` creates it, so it needs no configuration. `Generator` explains `kind`.
    """

    def __init__(self, kind: str, unit_axes: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind = kind
        self.unit_axes = tuple(unit_axes)
        self.gain: Tensor = None
        self.batch: keras.Layer | None = None
        if kind == "batch":
            # A shift would be a stored weight, which composition="add" provides.
            self.batch = keras.layers.BatchNormalization(
                center=False, scale=False, dtype=self.dtype_policy, name="batch"
            )

    def build(self, weight_shape: Sequence[int]) -> None:
        """Creates the gain: a scalar, or one value for each unit."""
        self.weight_shape = tuple(weight_shape)
        shape: tuple[int, ...] = ()
        if self.kind == "weight":
            shape = tuple(n if axis in self.unit_axes else 1 for axis, n in enumerate(weight_shape))
        self.gain = self.add_weight(name="gain", shape=shape, initializer="ones")
        if self.batch is not None:
            self.batch.build((None, math.prod(weight_shape)))
        self.built = True

    def call(self, weight: Tensor, training: bool | None = None) -> Tensor:
        """Returns the normalized weight, of shape `weight_shape` or `(batch, *weight_shape)`."""
        rank, size = len(self.weight_shape), math.prod(self.weight_shape)
        axes = tuple(range(-rank, 0))
        if self.batch is not None:
            # One weight for the whole batch has no variance over conditions.
            batched = len(weight.shape) > rank
            flat = ops.reshape(weight, (-1, size))
            flat = self.batch(flat, training=training if batched else False)
            normal = ops.reshape(flat, ops.shape(weight))
        elif self.kind == "weight":
            others = tuple(axis for axis in axes if axis + rank not in self.unit_axes)
            normal = rms_normalize(weight, others)
        else:
            wide = ops.cast(weight, at_least_float32(weight.dtype))
            if self.kind == "layer":
                wide = wide - ops.sum(wide, axis=axes, keepdims=True) / size
            normal = ops.cast(rms_normalize(wide, axes), weight.dtype)
        return normal * ops.cast(self.gain, normal.dtype)
