"""Initialization: which standard deviation a generated weight should start with.

A generator emits numbers of unit variance; a generated weight multiplies them by the standard
deviation that the layer's own `kernel_initializer` would have given an ordinary kernel. With
`VarianceScaling` in the modes fan_in, fan_out and fan_avg this is the hyperfan-in, the hyperfan-out
and their average of Chang, Flokas & Lipson ("Principled weight initialization for hypernetworks",
ICLR 2020), moved from the generator's head into one fixed factor.
"""

import math
import random
from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_hyper.ops import at_least_float32
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Tensor
from keras_hyper.utils.checks import positive_int

# Standard deviation of a standard normal cut off at two standard deviations.
_TRUNCATED_STD = 0.87962566103423978


@serializable
class UnitRMS(keras.initializers.Initializer):
    r"""Vectors of random direction whose root mean square is exactly 1.

    `z = sqrt(n) g / |g|` with `g` standard normal and `n` the last dimension: uniform on the
    sphere. A weight that is linear in such an embedding has a variance that does not scatter with
    the embedding's length, and, unlike random signs, two embeddings of few dimensions are never
    equal.

    Args:
        seed: Optional integer, to draw the same numbers again.

    Examples:
        >>> import keras
        >>> from keras_hyper.initializers import UnitRMS
        >>> z = UnitRMS(seed=1)((5, 8))
        >>> [round(float(r), 5) for r in keras.ops.mean(z * z, axis=-1)]
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(mean=0.0, stddev=1.0, seed=seed)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        """Returns a tensor of `shape`, normalized over its last axis."""
        dtype = keras.backend.standardize_dtype(dtype)
        # Half precision would round the length.
        draw = self._normal(shape, dtype=at_least_float32(dtype))
        rms = ops.sqrt(ops.mean(ops.square(draw), axis=-1, keepdims=True))
        return ops.cast(draw / rms, dtype)

    def get_config(self) -> Config:
        """Returns the arguments to construct this initializer again."""
        return {"seed": self.seed}


@serializable
class UnitGainOrthogonal(keras.initializers.Initializer):
    r"""Orthogonal matrices of variance `1 / fan_in`.

    A wide matrix `M` of shape `(fan_in, fan_out)` has orthogonal rows: `x M` has a mean square of
    exactly 1 for *every* `x` whose mean square is 1, where independent entries give 1 on average
    only. With such layers every tile of `TiledKernelGenerator` starts at the standard deviation it
    should have, which matters because all layers that share the generator share its error.

    Args:
        seed: Optional integer, to draw the same numbers again.

    Examples:
        >>> import keras
        >>> from keras_hyper.initializers import UnitGainOrthogonal, UnitRMS
        >>> y = UnitRMS(seed=1)((1, 8)) @ UnitGainOrthogonal(seed=2)((8, 100))
        >>> round(float(keras.ops.mean(y * y)), 4)
        1.0
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._orthogonal = keras.initializers.Orthogonal(seed=seed)

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        """Returns a matrix of `shape`."""
        dtype = keras.backend.standardize_dtype(dtype)
        fan_in, fan_out = shape
        gain = math.sqrt(max(1.0, fan_out / fan_in))
        # There is no QR decomposition in half precision.
        matrix = self._orthogonal(shape, dtype=at_least_float32(dtype))
        return ops.cast(matrix * gain, dtype)

    def get_config(self) -> Config:
        """Returns the arguments to construct this initializer again."""
        return {"seed": self.seed}


@serializable
class OrthogonalPerGate(keras.initializers.Initializer):
    r"""An orthogonal matrix for each gate, side by side.

    `keras.initializers.Orthogonal` on the fused kernel of an LSTM makes the four gates together
    orthogonal, and none of them by itself when the kernel is wide. The author's code of
    "HyperNetworks" draws each gate alone.

    Args:
        gates: Integer, how many gates the last axis holds.
        gain: Factor of the matrices.
        seed: Optional integer, to draw the same numbers again.

    Raises:
        ValueError: If there are not two axes, or the last is no multiple of `gates`.
        TypeError: If the seed is no integer.

    Examples:
        >>> import keras
        >>> from keras_hyper.initializers import OrthogonalPerGate
        >>> first = OrthogonalPerGate(4, seed=1)((3, 12))[:, :3]
        >>> error = first @ keras.ops.transpose(first) - keras.ops.eye(3)
        >>> bool(keras.ops.all(keras.ops.abs(error) < 1e-5))
        True
    """

    def __init__(self, gates: int, gain: float = 1.0, seed: int | None = None) -> None:
        self.gates = positive_int("gates", gates)
        self.gain = gain
        self.seed = seed
        if seed is not None and not isinstance(seed, int):
            raise TypeError(
                f"`seed` must be None or an integer. Received: seed={seed!r} "
                f"(of type {type(seed).__name__})"
            )
        # One instance would draw the same numbers for every gate, and neighboring
        # seeds those of another instance.
        draw = random.Random(seed).randrange
        seeds = [None if seed is None else draw(2**31) for _ in range(self.gates)]
        self._draws = [keras.initializers.Orthogonal(gain=gain, seed=s) for s in seeds]

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        """Returns a matrix of `shape`."""
        if len(shape) != 2 or shape[-1] % self.gates:
            raise ValueError(
                f"The last of two axes must hold {self.gates} gates of one width. Received: "
                f"shape={tuple(shape)}"
            )
        rows, columns = shape
        dtype = keras.backend.standardize_dtype(dtype)
        gate = (rows, columns // self.gates)
        # There is no QR decomposition in half precision.
        matrices = [draw(gate, dtype=at_least_float32(dtype)) for draw in self._draws]
        return ops.cast(ops.concatenate(matrices, axis=-1), dtype)

    def get_config(self) -> Config:
        """Returns the arguments to construct this initializer again."""
        return {"gates": self.gates, "gain": self.gain, "seed": self.seed}


def flat_draw(initializer: keras.Initializer, weight_shape: Sequence[int]) -> Callable[..., Tensor]:
    """Returns an initializer that draws a weight of a shape, and lays it out otherwise."""
    return lambda shape, dtype=None: ops.reshape(initializer(weight_shape, dtype=dtype), shape)


def fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Returns `(fan_in, fan_out)` of a weight, as Keras counts them."""
    if input_axes is not None and output_axes is not None:
        return (
            math.prod(shape[axis] for axis in input_axes),
            math.prod(shape[axis] for axis in output_axes),
        )
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    receptive = math.prod(shape[:-2])
    return shape[-2] * receptive, shape[-1] * receptive


def weight_std(initializer: keras.Initializer | None, shape: Sequence[int]) -> float | None:
    """Returns the standard deviation that `initializer` gives a weight of `shape`.

    It is read from the initializer's configuration, never from drawn values, so that it can be
    known while a graph is traced. None where it cannot be: a function, a constant, or a draw whose
    mean is not zero.
    """
    init = keras.initializers
    if isinstance(initializer, init.VarianceScaling):
        # Keras gained the two `axes` arguments after 3.12.
        axes = (getattr(initializer, f"{side}_axes", None) for side in ("input", "output"))
        fan_in, fan_out = fans(shape, *axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        return math.sqrt(initializer.scale / max(1.0, fan[initializer.mode]))
    if isinstance(initializer, init.RandomNormal) and initializer.mean == 0:
        return float(initializer.stddev)
    if isinstance(initializer, init.TruncatedNormal) and initializer.mean == 0:
        return float(initializer.stddev) * _TRUNCATED_STD
    if isinstance(initializer, init.RandomUniform) and initializer.minval == -initializer.maxval:
        return float(initializer.maxval) / math.sqrt(3)
    if isinstance(initializer, init.Orthogonal):
        rows, columns = math.prod(shape[:-1]), shape[-1]
        return float(initializer.gain) / math.sqrt(max(rows, columns))
    return None
