"""Weights of a batched kernel, each times the number of its sample."""

import keras
import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper.kernels import Full, LowRank, Mixture, Sum


def ones(*shape):
    return keras.ops.ones(shape)


@pytest.mark.parametrize(
    "kernel",
    [
        lambda: Full(keras.ops.reshape(keras.ops.arange(24.0), (2, 4, 3)), batched=True),
        lambda: LowRank(ones(2, 4, 1), ones(2, 1, 3), (2, 2, 3)),
        lambda: Mixture(ones(5, 4, 3), ones(2, 5)),
        lambda: Mixture(ones(5, 4, 3), ones(2, 5), ones(4, 3)),
        lambda: Sum(ones(2, 3), Full(ones(2, 2, 3), batched=True)),
    ],
    ids=["full", "low rank", "mixture", "mixture with bias", "sum"],
)
def test_each_weight_times_a_number(kernel):
    kernel, factors = kernel(), np.array([0.5, 0], "float32")
    weights = to_numpy(kernel.materialize())
    expected = weights * factors.reshape(-1, *[1] * (weights.ndim - 1))
    weighted = kernel.weighted(keras.ops.convert_to_tensor(factors))
    # A sum has a base without a factor for each sample.
    assert isinstance(kernel, Sum) or type(weighted) is type(kernel)
    np.testing.assert_allclose(to_numpy(weighted.materialize()), expected, rtol=1e-6)
