"""What the properties are drawn from."""

import keras
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from keras_hyper import (
    ChunkedGenerator,
    LinearGenerator,
    LowRankGenerator,
    MLPGenerator,
    TemplateGenerator,
    TiledKernelGenerator,
)
from keras_hyper.generators import DirectGenerator


def examples(share):
    """Returns a decorator for a property that takes long: a percentage of the examples."""
    return settings(max_examples=max(settings.default.max_examples * share // 100, 1))


ACTIVATIONS = st.sampled_from([None, "relu", "tanh", "sigmoid", "softplus", "elu"])
WIDTHS = st.integers(1, 4)


@st.composite
def generators(draw, spatial=()):
    """Draws the class of a generator and its arguments.

    Args:
        draw: Given by hypothesis.
        spatial: Spatial size of the kernels, for tiles.
    """
    cls = draw(
        st.sampled_from(
            [
                ChunkedGenerator,
                DirectGenerator,
                LinearGenerator,
                LowRankGenerator,
                MLPGenerator,
                TemplateGenerator,
                TiledKernelGenerator,
            ]
        )
    )
    # An embedding of one number cannot be normalized.
    arguments = {"normalize_condition": cls is not DirectGenerator and draw(st.booleans())}
    if cls not in (DirectGenerator, TemplateGenerator):
        arguments["embedding_dim"] = draw(st.integers(2, 5))
    if cls in (ChunkedGenerator, MLPGenerator):
        arguments["hidden_units"] = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=2)))
        arguments["activation"] = draw(st.sampled_from(["relu", "tanh", "sigmoid"]))
    if cls is ChunkedGenerator:
        arguments["chunk_size"] = draw(st.integers(1, 20))
    if cls is LowRankGenerator:
        arguments["rank"] = draw(st.integers(1, 3))
    if cls is TemplateGenerator:
        arguments["num_templates"] = draw(st.integers(2, 4))
        arguments["coefficients"] = draw(st.sampled_from(["linear", "softmax", "sigmoid"]))
    if cls is TiledKernelGenerator:
        arguments["tile"] = (*spatial, draw(WIDTHS), draw(WIDTHS))
        arguments["hidden_dim"] = draw(st.none() | st.integers(1, 5))
    return cls, arguments


def numbers(seed, shape, dtype="float32"):
    """Returns an array drawn from a standard normal."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def move(layer, seed):
    """Moves every trained weight from where it starts, so that nothing is zero."""
    rng = np.random.default_rng(seed)
    for v in layer.trainable_variables:
        value = keras.ops.convert_to_numpy(v.value).astype("float32")
        v.assign(value + 0.3 * rng.normal(size=v.shape))


def assert_close(actual, expected, tolerance=1e-4):
    """Raises if two arrays differ in type, shape or values, relative to the largest value."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    actual, expected = (np.asarray(x, "float64") for x in (actual, expected))
    largest = max(np.abs(expected).max(initial=0), 1e-2)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * largest)
