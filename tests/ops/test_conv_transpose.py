"""Per-sample transposed convolutions of one axis, against the equations."""

import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper.ops import per_sample_conv_transpose
from reference import equations

# Kernel size, stride, dilation.
SIZES = [(1, 1, 1), (1, 3, 1), (2, 1, 1), (2, 3, 1), (3, 2, 1), (4, 2, 1), (4, 3, 1), (5, 2, 1)]
DILATED = [(3, 1, 2), (2, 1, 3), (3, 2, 2), (2, 2, 3), (2, 3, 4), (4, 3, 2)]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "stride", "dilation"), SIZES + DILATED)
def test_outputs_follow_the_equations(size, stride, dilation, padding, rng):
    x, kernels = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, size, 4, 2))
    for extra in (None, *range(stride)):
        output_padding = None if extra is None else (extra,)
        options = (stride,), padding, output_padding, "channels_last", (dilation,)
        outputs = to_numpy(per_sample_conv_transpose(x, kernels, *options))
        for sample, kernel, output in zip(x, kernels, outputs, strict=True):
            rest = (stride,), padding, (dilation,), output_padding
            expected = equations.conv_transpose(sample, kernel, 0.0, *rest)
            np.testing.assert_allclose(output, expected, rtol=1e-12, atol=1e-12)
