"""Generated weights are found in every layer, also in a user's, and used like ours."""

import keras
import numpy as np
import pytest
from keras import layers
from own_layer import bilinear

from helpers import to_numpy
from keras_hyper import (
    ChunkedGenerator,
    GeneratedWeight,
    HyperConv2D,
    HyperDense,
    HyperEmbedding,
    Hypernetwork,
    LinearGenerator,
    summary,
    visualize,
)
from keras_hyper.export.folding import Folded
from keras_hyper.inspect.observing import observe
from keras_hyper.weights import find_weights

PATHS = ["heads/0", "heads/1", "bias"]


def test_a_users_layer_is_summarized():
    figures = summary(bilinear(), print_fn=lambda line: None)
    assert [(w.layer, w.weight, w.shape) for w in figures.weights] == [
        ("bilinear", path, shape) for path, shape in zip(PATHS, [(3, 3), (3, 3), (2,)], strict=True)
    ]
    assert figures.generated == 20
    assert [(g.name, g.layers) for g in figures.generators] == [("chunks", ("bilinear",))]


@pytest.mark.parametrize("conditioned", [False, True])
def test_a_users_layer_is_recorded(conditioned, rng):
    model = bilinear(conditioned)
    x, c = (rng.normal(size=(4, n)).astype("float32") for n in (3, 2))
    observed = observe(model, [x, c] if conditioned else x)
    found = {path: weight.weight for path, weight in zip(PATHS, find_weights(model), strict=True)}
    assert list(observed.weights) == [f"bilinear/{path}" for path in PATHS]
    assert len(observed.batched) == (3 if conditioned else 0)
    for path, weight in found.items():
        expected = weight.kernel(keras.ops.convert_to_tensor(c) if conditioned else None)
        np.testing.assert_allclose(
            observed.weights[f"bilinear/{path}"], to_numpy(expected.materialize()), rtol=1e-5
        )


def test_a_users_layer_is_folded_and_drawn(rng):
    model = bilinear()
    folded = Folded(model)
    assert len(folded.weights) == 3
    assert sum(np.prod(v.shape) for v in folded.weights) == 20
    layer = model.get_layer("bilinear")
    picture = visualize.kernels(layer).images[0].get_array()
    np.testing.assert_allclose(picture, to_numpy(layer.heads[0].kernel().materialize()), rtol=1e-6)


def test_paths_are_those_of_the_stock_layers_and_of_the_target():
    dense = HyperDense(3, generate_bias=True)
    assert dense.generated_weights == {}
    dense.build((None, 4))
    assert dense.generated_weights == {"kernel": dense.kernel_weight, "bias": dense.bias_weight}
    convolution = HyperConv2D(3, 3)
    convolution.build((None, 8, 8, 2))
    assert list(convolution.generated_weights) == ["kernel"]
    table = HyperEmbedding(9, 4)
    table.build()
    assert list(table.generated_weights) == ["embeddings"]
    target = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2)])
    hyper = Hypernetwork(target, ChunkedGenerator(4))
    assert list(hyper.generated_weights)[:2] == ["a/kernel", "a/bias"]
    assert [w.weight for w in find_weights(hyper)] == list(hyper.generated_weights.values())
    assert find_weights(hyper)[0].owner is hyper


def test_a_weight_of_two_owners_and_a_weight_alone_are_found_once():
    weight = GeneratedWeight(LinearGenerator(4), (3, 2), name="shared")
    weight.build()
    first, second = layers.Dense(2), layers.Dense(2)
    first.made = second.made = weight
    model = keras.Sequential([keras.Input((3,)), first, second])
    assert [(x.owner, x.path) for x in find_weights(model)] == [(first, "shared")]
    assert [(x.owner, x.path) for x in find_weights(weight)] == [(weight, "shared")]


def test_a_users_own_list_of_that_name_is_searched():
    layer = layers.Dense(2)
    layer.generated_weights = [GeneratedWeight(LinearGenerator(4), (3, 2), name="one")]
    assert [x.path for x in find_weights(layer)] == ["one"]


def test_hypernetworks_over_targets_of_one_name_are_recorded_apart(rng):
    def target():
        return keras.Sequential([keras.Input((3,)), layers.Dense(3, name="dense")])

    pair = [Hypernetwork(target(), ChunkedGenerator(4), name=name) for name in ("one", "two")]
    model = keras.Sequential([keras.Input((3,)), *pair])
    observed = observe(model, rng.normal(size=(2, 3)).astype("float32"))
    assert {"dense/kernel", "two/dense/kernel"} <= set(observed.weights)
    np.testing.assert_allclose(
        observed.weights["two/dense/kernel"],
        to_numpy(pair[1].generate()["dense/kernel"]),
        rtol=1e-5,
    )
