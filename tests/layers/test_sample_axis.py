"""Several samples for each condition, in the second axis of the inputs."""

import keras
import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper import (
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEmbedding,
    LowRankGenerator,
)

LAYERS = {
    "dense": (lambda **kwargs: HyperDense(4, generate_bias=True, **kwargs), (5,)),
    "conv1d": (lambda **kwargs: HyperConv1D(4, 3, padding="causal", **kwargs), (6, 3)),
    "conv2d": (lambda **kwargs: HyperConv2D(4, 3, generate_bias=True, **kwargs), (6, 6, 3)),
    "conv3d": (lambda **kwargs: HyperConv3D(2, 2, **kwargs), (3, 3, 3, 2)),
    "depthwise": (lambda **kwargs: HyperDepthwiseConv2D(3, **kwargs), (6, 6, 3)),
    "transpose": (lambda **kwargs: HyperConv2DTranspose(4, 3, **kwargs), (5, 5, 3)),
    "embedding": (lambda **kwargs: HyperEmbedding(7, 4, **kwargs), (6,)),
}


@pytest.mark.parametrize("options", [{}, {"generator": lambda: LowRankGenerator(2)}])
@pytest.mark.parametrize("kind", LAYERS)
def test_each_condition_has_one_weight_for_all_of_its_samples(kind, options, rng):
    make, shape = LAYERS[kind]
    layer = make(**{name: value() for name, value in options.items()})
    ids = kind == "embedding"
    x = rng.integers(0, 7, (2, 3, *shape)) if ids else rng.normal(size=(2, 3, *shape))
    x = x.astype("int32" if ids else "float32")
    c = rng.normal(size=(2, 4)).astype("float32")
    outputs = layer(x, condition=c)
    assert tuple(outputs.shape) == tuple(layer.compute_output_shape((2, 3, *shape)))
    for i in range(2):
        one = to_numpy(layer(x[i], condition=c[i]))
        np.testing.assert_allclose(to_numpy(outputs[i]), one, rtol=1e-4, atol=1e-5)
    inputs, condition = keras.Input((None, *shape), dtype=x.dtype.name), keras.Input((4,))
    model = keras.Model([inputs, condition], layer(inputs, condition=condition))
    np.testing.assert_allclose(
        model.predict([x, c], verbose=0), to_numpy(outputs), rtol=1e-4, atol=1e-5
    )
    shared = to_numpy(layer(x, condition=c[0]))
    np.testing.assert_allclose(shared[0], to_numpy(outputs[0]), rtol=1e-4, atol=1e-5)


def test_a_static_convolution_has_no_axis_of_samples():
    layer = HyperConv2D(4, 3)
    with pytest.raises(ValueError, match="number of channels|expected"):
        layer(np.ones((2, 3, 6, 6, 3), "float32"))
