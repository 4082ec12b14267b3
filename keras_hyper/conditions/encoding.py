"""An encoding of continuous hyper-parameters with a constant norm."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.ops import at_least_float32
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.checks import floating

Numbers = float | Sequence[float] | np.ndarray


@serializable
class MagnitudeInvariantEncoding(keras.layers.Layer):
    r"""Encodes values of known ranges as points on circles, for use as conditions.

    `sqrt(2) [cos(t pi / 2), sin(t pi / 2)]` with `t = (x - low) / (high - low)` for each value. The
    encoding has a root mean square of exactly 1. Without it, the scales of generated weights and of
    gradients grow with the values (Ortiz, Guttag & Dalca, "Magnitude invariant parametrizations
    improve hypernetwork learning", ICLR 2024).

    Args:
        low: Float, or one float per value, the smallest value.
        high: Float, or one float per value, the largest value. Values outside the range are not
            clipped: they continue along the circle.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Floating point tensor of shape `(batch, n)` or `(n,)`.

    Output shape:
        `(batch, 2 * n)` or `(2 * n,)`.

    Raises:
        ValueError: If `high` is not above `low`, or the inputs have a different number of values
            than `low` and `high`.
        TypeError: If the inputs are not floating point.

    Examples:
        A regularization strength between 0.1 and 10, on a logarithmic scale:

        >>> import keras
        >>> from keras_hyper import HyperDense, MagnitudeInvariantEncoding
        >>> encode = MagnitudeInvariantEncoding(low=-1.0, high=1.0)
        >>> strength = keras.ops.log10(keras.ops.convert_to_tensor([[0.1], [10.0]]))
        >>> condition = encode(strength)
        >>> tuple(condition.shape)
        (2, 2)
        >>> tuple(HyperDense(3)(keras.ops.ones((2, 5)), condition=condition).shape)
        (2, 3)
    """

    def __init__(self, low: Numbers = 0.0, high: Numbers = 1.0, **kwargs: Any) -> None:
        # Half precision would round values that are far from zero before they are scaled.
        super().__init__(autocast=False, **kwargs)
        self.low, self.high = _numbers("low", low), _numbers("high", high)
        if len({len(self.low), len(self.high)} - {1}) > 1:
            raise ValueError(
                "`low` and `high` must have equal lengths, or be single numbers. Received: "
                f"low={low}, high={high}"
            )
        if not np.all(np.less(self.low, self.high)):
            raise ValueError(f"`high` must be above `low`. Received: low={low}, high={high}")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the cosines, followed by the sines."""
        self._check(inputs)
        wide = at_least_float32(inputs.dtype)
        low = ops.convert_to_tensor(self.low, dtype=wide)
        span = ops.convert_to_tensor(self.high, dtype=wide) - low
        angle = (ops.cast(inputs, wide) - low) / span * (math.pi / 2)
        points = ops.concatenate([ops.cos(angle), ops.sin(angle)], axis=-1) * math.sqrt(2)
        return ops.cast(points, self.compute_dtype)

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        """Returns the output shape."""
        *lead, n = inputs_shape
        return (*lead, None if n is None else 2 * n)

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        """Returns the output shape and dtype, after the checks of `call`."""
        self._check(inputs)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def _check(self, inputs: Tensor) -> None:
        floating("inputs", inputs, "Cast them to a floating point dtype.")
        n = max(len(self.low), len(self.high))
        if len(inputs.shape) not in (1, 2) or (n > 1 and inputs.shape[-1] != n):
            raise ValueError(
                f"MagnitudeInvariantEncoding '{self.name}' takes inputs of shape (batch, n) or (n,)"
                f"{f' with n={n}' if n > 1 else ''}. Received: `inputs` of shape "
                f"{tuple(inputs.shape)}"
            )

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def _numbers(name: str, value: Numbers) -> list[float]:
    """Returns a number or a sequence of numbers as a list of floats."""
    try:
        values = np.atleast_1d(np.asarray(value, dtype="float64"))
    except (TypeError, ValueError):
        values = np.array([])
    valid = values.ndim == 1 and values.size > 0 and np.isfinite(values).all()
    if isinstance(value, str) or not valid:
        raise ValueError(
            f"`{name}` must be a finite number or a list of them. Received: {name}={value!r}"
        )
    return [float(number) for number in values]
