"""Per-sample convolutions, against the equations."""

import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper.ops import per_sample_conv
from keras_hyper.ops.conv import _split_moves_less
from reference import equations


@pytest.mark.parametrize("dilation", [(1, 1, 2), (2, 1, 1), (1, 3, 1)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_split_convolutions_of_three_axes_follow_the_equations(dilation, padding, rng):
    x, kernels = rng.normal(size=(2, 5, 8, 6, 3)), rng.normal(size=(2, 2, 3, 2, 3, 1))
    assert _split_moves_less(x.shape, kernels.shape)
    ones = (1, 1, 1)
    outputs = to_numpy(per_sample_conv(x, kernels, ones, padding, "channels_last", dilation))
    for sample, kernel, output in zip(x, kernels, outputs, strict=True):
        expected = equations.conv(sample, kernel, 0.0, ones, padding, dilation)
        np.testing.assert_allclose(output, expected, rtol=1e-12, atol=1e-12)
