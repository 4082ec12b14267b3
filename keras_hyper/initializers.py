"""Initializers, and the standard deviation that an initializer gives a weight.

Generators emit elements of variance 1. A generated weight multiplies them by the standard
deviation that the layer's `kernel_initializer` would give an ordinary kernel. For
`VarianceScaling` with fan_in, fan_out or fan_avg, this is hyperfan-in, hyperfan-out or their
average (Chang, Flokas & Lipson, "Principled weight initialization for hypernetworks", ICLR 2020).
The factor is fixed. It is not part of the weights of the generator's last layer.
"""

import math
import random
from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_hyper.ops import at_least_float32
from keras_hyper.saving import serializable
from keras_hyper.typing import Config, Tensor
from keras_hyper.utils.checks import positive_int, wrong_type

# Standard deviation of a standard normal distribution truncated at two standard deviations.
_TRUNCATED_STD = 0.87962566103423978


@serializable
class UnitRMS(keras.initializers.Initializer):
    r"""Vectors of random direction whose root mean square is exactly 1.

    `z = sqrt(n) g / |g|`, where `g` is standard normal and `n` is the last dimension. The variance
    of a weight that is linear in such an embedding does not depend on the embedding's length.
    Unlike random signs, two short embeddings are never equal.

    Args:
        seed: Optional integer, random seed.

    Examples:
        >>> import keras
        >>> from keras_hyper.initializers import UnitRMS
        >>> z = UnitRMS(seed=1)((5, 8))
        >>> [round(float(r), 5) for r in keras.ops.mean(z * z, axis=-1)]
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

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

    A wide matrix `M` of shape `(fan_in, fan_out)` has orthogonal rows. If `x` has a mean square
    of 1, so has `x M`, for *every* `x`. With independent entries this holds only on average.
    `TiledKernelGenerator` needs it for every draw, because all layers that share the generator
    share its error.

    Args:
        seed: Optional integer, random seed.

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
        # There is no QR decomposition in half precision.
        matrix = self._orthogonal(shape, dtype=at_least_float32(dtype))
        return ops.cast(matrix * math.sqrt(max(1.0, fan_out / fan_in)), dtype)

    def get_config(self) -> Config:
        """Returns the arguments to construct this initializer again."""
        return {"seed": self.seed}


@serializable
class OrthogonalPerGate(keras.initializers.Initializer):
    r"""An orthogonal matrix for each gate, side by side.

    The author's code of "HyperNetworks" (Ha, Dai & Le, ICLR 2017) does this.
    `keras.initializers.Orthogonal` makes the fused kernel of an LSTM orthogonal as a whole. The
    matrix of one gate is then not orthogonal if the kernel is wide.

    Args:
        gates: Integer, number of gates on the last axis.
        gain: Factor of the matrices.
        seed: Optional integer, random seed.

    Raises:
        ValueError: If there are not two axes, or the last is not a multiple of `gates`.
        TypeError: If the seed is not an integer.

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
            raise wrong_type("seed", seed, "None or an integer")
        # One instance would draw the same matrix for every gate. Consecutive seeds would repeat
        # matrices of other instances.
        draw = random.Random(seed).randrange
        seeds = [None if seed is None else draw(2**31) for _ in range(self.gates)]
        self._draws = [keras.initializers.Orthogonal(gain=gain, seed=s) for s in seeds]

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        """Returns a matrix of `shape`."""
        if len(shape) != 2 or shape[-1] % self.gates:
            raise ValueError(
                f"`shape` must have two axes, and the last must hold {self.gates} gates of equal "
                f"width. Received: shape={tuple(shape)}"
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
    """Returns an initializer that draws a weight of `weight_shape` and reshapes it."""
    return lambda shape, dtype=None: ops.reshape(initializer(weight_shape, dtype=dtype), shape)


def fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Returns `(fan_in, fan_out)` of a weight, as Keras counts them."""
    if input_axes is not None and output_axes is not None:
        inputs, outputs = ([shape[axis] for axis in axes] for axes in (input_axes, output_axes))
        return math.prod(inputs), math.prod(outputs)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    receptive = math.prod(shape[:-2])
    return shape[-2] * receptive, shape[-1] * receptive


def weight_std(initializer: keras.Initializer | None, shape: Sequence[int]) -> float | None:
    """Returns the standard deviation that `initializer` gives a weight of `shape`.

    It follows from the initializer's configuration, not from drawn values, so it is known while
    a graph is traced. None if it is unknown: for a function, a constant, or a nonzero mean.
    """
    init = keras.initializers
    if isinstance(initializer, init.VarianceScaling):
        # Keras 3.12 has no `input_axes` and `output_axes`.
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
        return float(initializer.gain) / math.sqrt(max(math.prod(shape[:-1]), shape[-1]))
    return None
