"""When a kernel writes its weights out, and that the result is the same if it does not."""

import math

import keras
import numpy as np
import pytest

from helpers import FLOAT64, to_numpy
from keras_hyper.kernels import Full, LowRank, Mixture, Scaled, Sum
from keras_hyper.kernels.kernel import Kernel
from keras_hyper.ops import conv_groups
from keras_hyper.ops.conv import _split_moves_less


def draw(rng, *shape):
    return keras.ops.convert_to_tensor(rng.normal(size=shape))


def mixture(k, *shape, bias=True):
    return lambda rng: Mixture(
        draw(rng, k, *shape), draw(rng, 2, k), draw(rng, *shape) if bias else None
    )


def low_rank(rank, *shape):
    rows, units = math.prod(shape[:-1]), shape[-1]
    return lambda rng: LowRank(draw(rng, 2, rows, rank), draw(rng, 2, rank, units), shape)


def total(make, *shape):
    return lambda rng: Sum(draw(rng, *shape), make(rng))


def scaled(*shape):
    ones = (1,) * (len(shape) - 1)
    return lambda rng: Scaled(draw(rng, *shape), draw(rng, 2, *ones, shape[-1]))


# A kernel, the shape of the inputs, and whether the weights are written out.
DENSE = {
    "mixture-few": (mixture(4, 5, 3), (5,), False),
    "mixture-few-wide": (mixture(4, 3, 5, bias=False), (3,), False),
    "mixture-square": (mixture(3, 4, 4), (4,), False),
    "mixture-many": (mixture(5, 5, 3), (5,), True),
    "mixture-more": (mixture(6, 5, 3), (5,), True),
    "mixture-many-wide": (mixture(5, 3, 5), (3,), True),
    "mixture-positions": (mixture(2, 5, 3), (4, 5), True),
    "low-rank": (low_rank(2, 6, 3), (6,), False),
    "low-rank-thin": (low_rank(1, 6, 3), (4, 6), False),
    "low-rank-thick": (low_rank(2, 6, 3), (4, 6), True),
    "sum": (total(low_rank(2, 6, 3), 6, 3), (6,), False),
    "sum-thin": (total(low_rank(1, 6, 3), 6, 3), (4, 6), False),
    "sum-thick": (total(low_rank(2, 6, 3), 6, 3), (4, 6), True),
    "scaled": (scaled(6, 3), (4, 6), False),
}
CONV = {
    "mixture": (mixture(2, 2, 3, 2), 3, True),
    "low-rank-thin": (low_rank(1, 2, 3, 2), 3, False),
    "low-rank-thick": (low_rank(2, 2, 3, 2), 3, True),
    "low-rank-groups": (low_rank(1, 2, 1, 4), 2, True),
    "sum-thin": (total(low_rank(1, 2, 3, 2), 2, 3, 2), 3, False),
    "sum-thick": (total(low_rank(2, 2, 3, 2), 2, 3, 2), 3, True),
    "sum-groups": (total(low_rank(1, 2, 1, 4), 2, 1, 4), 2, True),
    "scaled": (scaled(2, 3, 2), 3, False),
}
LOOKUP = {
    "mixture-few": (mixture(2, 6, 4), (3,), False),
    "mixture-few-no-bias": (mixture(2, 6, 4, bias=False), (3,), False),
    "mixture-few-axes": (mixture(2, 8, 4), (2, 2), False),
    "mixture-many": (mixture(2, 5, 4), (3,), True),
    "low-rank": (low_rank(2, 6, 4), (9,), False),
    "sum": (total(low_rank(2, 6, 4), 6, 4), (9,), False),
    "sum-mixture": (total(mixture(2, 6, 4), 6, 4), (3,), False),
    "scaled": (scaled(6, 4), (9,), False),
}


@pytest.fixture
def written(monkeypatch):
    """Returns a list that grows when a kernel is written out."""
    calls = []
    for cls in (Mixture, LowRank, Sum, Scaled):

        def materialize(self, original=cls.materialize):
            calls.append(self)
            return original(self)

        monkeypatch.setattr(cls, "materialize", materialize)
    return calls


def check(kernel, product, written, out):
    """Compares a product of a kernel with that of its weights in full."""
    assert isinstance(kernel, Kernel)
    assert kernel.batched
    result = to_numpy(product(kernel))
    assert bool(written) is out
    full = Full(kernel.materialize(), batched=True)
    assert kernel.shape == full.shape
    np.testing.assert_allclose(result, to_numpy(product(full)), **FLOAT64)


@pytest.mark.parametrize(("make", "shape", "out"), DENSE.values(), ids=DENSE)
def test_dense_products(make, shape, out, written, rng):
    x = draw(rng, 2, *shape)
    check(make(rng), lambda kernel: kernel.dense(x), written, out)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("make", "channels", "out"), CONV.values(), ids=CONV)
def test_convolutions(make, channels, out, data_format, written, rng):
    if data_format == "channels_first" and keras.backend.backend() == "tensorflow":
        pytest.skip("no convolution with the channels first on CPU")
    shape = (2, 7, channels) if data_format == "channels_last" else (2, channels, 7)
    x = draw(rng, *shape)
    options = {"strides": (2,), "padding": "same", "dilation_rate": (1,)}
    options["data_format"] = data_format
    check(make(rng), lambda kernel: kernel.conv(x, **options), written, out)


@pytest.mark.parametrize(("make", "positions", "out"), LOOKUP.values(), ids=LOOKUP)
def test_lookups(make, positions, out, written, rng):
    kernel = make(rng)
    ids = keras.ops.convert_to_tensor(rng.integers(0, kernel.shape[0], size=(2, *positions)))
    check(kernel, lambda kernel: kernel.lookup(ids), written, out)


@pytest.mark.parametrize(
    "make",
    [mixture(2, 4, 3), mixture(2, 4, 3, bias=False), low_rank(2, 4, 3), scaled(4, 3)],
    ids=["mixture", "mixture-no-bias", "low-rank", "scaled"],
)
@pytest.mark.parametrize("composed", [False, True], ids=["alone", "sum"])
def test_arithmetic(make, composed, rng):
    kernel = (total(make, 4, 3) if composed else make)(rng)
    weights = to_numpy(kernel.materialize())
    base = draw(rng, 4, 3)
    np.testing.assert_allclose(to_numpy(kernel.scaled(3.0).materialize()), 3 * weights, **FLOAT64)
    product = kernel.times(base)
    assert product.batched
    np.testing.assert_allclose(to_numpy(product.materialize()), weights * to_numpy(base), **FLOAT64)
    half = kernel.cast("float16").materialize()
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    np.testing.assert_allclose(to_numpy(half), weights, rtol=0.02, atol=0.02)


class Outer(Kernel):
    """`u_b v^T`, a user's kernel: it names its attributes and has the rest."""

    by_sample = ("left",)
    linear_in = ("left",)

    def __init__(self, left, right):
        self.left, self.right = left, right

    @property
    def shape(self):
        return self.left.shape[1], self.right.shape[0]

    def materialize(self):
        return self.left[:, :, None] * self.right


def test_a_kernel_names_its_attributes(rng):
    kernel = Outer(draw(rng, 2, 4), draw(rng, 3))
    weights = to_numpy(kernel.materialize())
    for changed, expected in (
        (kernel.scaled(3.0), 3 * weights),
        (kernel.repeated(2), np.repeat(weights, 2, axis=0)),
        (kernel.with_tensors(iter([2 * x for x in kernel.tensors()])), 4 * weights),
        (Sum(draw(rng, 4, 3) * 0, kernel).repeated(2), np.repeat(weights, 2, axis=0)),
    ):
        assert changed.batched
        assert changed.rows == len(expected)
        np.testing.assert_allclose(to_numpy(changed.materialize()), expected, **FLOAT64)
    assert keras.backend.standardize_dtype(kernel.cast("float32").materialize().dtype) == "float32"
    np.testing.assert_array_equal(to_numpy(kernel.materialize()), weights)


@pytest.mark.parametrize(("rank", "thin"), [(4, True), (5, False)])
def test_a_kernel_is_thin_if_its_factors_are_smaller(rank, thin, rng):
    """18 x 6 numbers, in factors of 4.5 columns."""
    assert low_rank(rank, 3, 3, 2, 6)(rng).thin is thin
    assert total(low_rank(rank, 3, 3, 2, 6), 3, 3, 2, 6)(rng).thin is False
    assert mixture(1, 18, 6)(rng).thin is False


@pytest.mark.parametrize(("width", "groups"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_groups_follow_from_shapes(width, groups):
    assert conv_groups(np.zeros((2, 5, 6)), (3, width, 12), "channels_last") == groups
    assert conv_groups(np.zeros((2, 6, 5)), (3, width, 12), "channels_first") == groups


@pytest.mark.parametrize(
    ("positions", "kernel", "split"),
    [
        # Numbers written: 9 x 6 a position, or 3 x 6 + 3 x 2 and twice the kernel, 108.
        ((3, 3), (3, 3, 6, 2), True),
        ((2, 4), (3, 3, 6, 2), True),
        ((7,), (3, 3, 6, 2), False),  # 378 against 168 + 216 = 384.
        ((2, 4), (3, 3, 6, 8), False),
        # No other axes: 3 x 4 a position, and the results of all 3 taps are no fewer.
        ((100,), (3, 4, 1), False),
        # Twice 24 = 8 x (12 - 6): equal is not less.
        ((8,), (2, 3, 2, 2), False),
        ((9,), (2, 3, 2, 2), False),
        ((None, 100), (3, 3, 6, 2), False),
    ],
)
def test_a_convolution_is_split_if_that_writes_fewer_numbers(positions, kernel, split):
    assert _split_moves_less((2, *positions, kernel[-2]), (2, *kernel)) is split
