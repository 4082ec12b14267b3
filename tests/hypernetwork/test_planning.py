"""Generators proposed for a budget."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyper
from helpers import to_numpy
from hypernetwork.targets import make_dense, make_lstm
from keras_hyper import (
    ChunkedGenerator,
    Hypernetwork,
    LowRankGenerator,
    TaskEmbedding,
    TiledKernelGenerator,
    plan,
)
from keras_hyper.generators import DirectGenerator
from keras_hyper.hypernetwork.planning import _steps

CLASSES = {
    "chunked": ChunkedGenerator,
    "tiled": TiledKernelGenerator,
    "low_rank": LowRankGenerator,
}


def make():
    return keras.Sequential(
        [
            keras.Input((60,)),
            layers.Dense(100, name="a"),
            layers.Dense(80, name="b"),
            layers.Dense(10, name="c"),
        ]
    )


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("condition", [None, 5])
@pytest.mark.parametrize("composition", ["replace", "add", "scale"])
@pytest.mark.parametrize("budget", [9_000, 5_200])
def test_what_is_planned_is_what_is_stored(kind, condition, composition, budget):
    target = make()
    include = "*kernel"
    chosen = plan(target, budget, include, condition, kind, composition)
    assert type(chosen.generator) is CLASSES[kind]
    hyper = Hypernetwork(target, chosen.generator, condition, include, composition)
    stored = hyper.count_params() - 190
    if composition != "replace":
        stored -= 14_800
    assert chosen.stored == stored <= budget
    assert chosen.generated == 14_800
    assert chosen.weights == 3
    assert f"{chosen.stored:,}, within {budget:,}" in str(chosen)


def test_gates_of_weights_that_start_as_constants_are_counted():
    target = make_lstm()
    chosen = plan(target, 100)
    hyper = Hypernetwork(target, chosen.generator)
    # The LSTM's bias starts at ones and zeros, which are stored: they are the target's.
    assert hyper.count_params() - 16 == chosen.stored


def test_a_larger_budget_makes_kernels_of_higher_rank():
    ranks = [plan(make(), b, "*kernel", kind="low_rank").generator.rank for b in (2_000, 9_000)]
    assert ranks[0] < ranks[1]
    widths = [plan(make(), b).generator.hidden_units[0] for b in (2_000, 9_000)]
    assert widths[0] < widths[1]


def small():
    return keras.Sequential(
        [keras.Input((16,)), layers.Dense(8, activation="relu", name="a"), layers.Dense(4)]
    )


def test_weights_of_a_small_target_stay_as_they_are_without_a_condition(rng):
    hyper = Hypernetwork(small())
    assert isinstance(hyper.generator, DirectGenerator)
    # And a gate for each bias.
    assert hyper.count_params() == small().count_params() + 2
    x = rng.normal(size=(5, 16)).astype("float32")
    outputs = to_numpy(hyper(x))
    np.testing.assert_allclose(outputs, to_numpy(hyper.bake()(x)), atol=1e-6)
    assert outputs.std() > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_what_is_chosen_for_a_small_target_with_a_condition_can_learn(seed):
    keras.utils.set_random_seed(seed)
    hyper = Hypernetwork(small(), condition=TaskEmbedding(num_tasks=3, dim=8))
    assert hyper.generator.hidden_units[0] >= 16
    assert hyper.generator.embedding_dim >= 8
    kernels = np.stack([to_numpy(hyper.generate(task)["a/kernel"]) for task in range(3)])
    # With two hidden units, most were zero for every embedding.
    assert (kernels == 0).mean() < 0.01
    assert 0.6 < kernels.std() / np.sqrt(2 / 24) < 1.5
    assert np.abs(kernels[0] - kernels[1]).mean() > 0.3 * kernels.std()


def test_the_default_of_a_wide_target_has_few_products_and_aligned_chunks():
    target = keras.Sequential([keras.Input((256,)), layers.Dense(512), layers.Dense(512)])
    hyper = Hypernetwork(target, include="*kernel")
    size = 256 * 512 + 512 * 512
    assert 16 <= hyper.generator.hidden_units[0] <= 64
    assert hyper.generator.chunk_size % 16 == 0
    assert hyper.count_params() - 2 * 512 <= size // 2  # Biases are ordinary.
    kernel, _ = hyper.generate().values()
    np.testing.assert_allclose(to_numpy(kernel).std(), np.sqrt(2 / (256 + 512)), rtol=0.1)


@pytest.mark.parametrize("kind", CLASSES)
def test_an_impossible_budget_is_refused_with_the_smallest_possible(kind):
    with pytest.raises(ValueError, match="smallest possible budget is") as error:
        plan(make(), 10, "*kernel", kind=kind)
    least = int(str(error.value).split("budget is ")[1].strip(".").replace(",", ""))
    assert plan(make(), least, "*kernel", kind=kind).stored == least
    with pytest.raises(ValueError, match="smallest possible"):
        plan(make(), least - 1, "*kernel", kind=kind)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((make_dense, 0), ValueError, "`budget` must be a positive integer"),
        ((make_dense, 50, "*bias", None, "tiled"), ValueError, "kind='tiled' is for kernels"),
        ((make_dense, 50, "*", None, "rank"), ValueError, "`kind` must be one of"),
        (
            (lambda: keras.Sequential([layers.Dense(2)]), 50),
            ValueError,
            "must be a built Keras model",
        ),
        ((make_dense, 50, "*conv"), ValueError, "matches no weight"),
        ((make_dense, 50, []), ValueError, r"None of the weights .* include=\[\]"),
        ((make_dense, 50, "*", -3), ValueError, "`condition_dim` must be a positive integer"),
        ((make_dense, 50, "*", TaskEmbedding(3, 4)), TypeError, "`condition_dim` must be a"),
    ],
)
def test_refused(arguments, error, message):
    target, *others = arguments
    with pytest.raises(error, match=message):
        plan(target(), *others)


def test_factors_of_units_are_counted_along_the_axes_of_the_units():
    target = keras.Sequential([keras.Input((8, 8, 6)), layers.DepthwiseConv2D(3)])
    chosen = plan(target, 100, "*kernel", composition="scale")
    hyper = Hypernetwork(target, chosen.generator, include="*kernel", composition="scale")
    # The bias and the kernel are stored as well.
    assert hyper.count_params() - 6 - 54 == chosen.stored


def test_factors_of_einsum_kernels_are_counted_as_they_are_made():
    dense = layers.EinsumDense("abc,dce->abde", output_shape=(None, 8, 64))
    target = keras.Sequential([keras.Input((3, 2)), dense])
    chosen = plan(target, budget=20_000, kind="low_rank")
    hyper = Hypernetwork(target, chosen.generator)
    assert keras_hyper.summary(hyper).stored == chosen.stored <= 20_000


# Each side of a tile is a power of two, or the longest side of the kernels.
@pytest.mark.parametrize(
    ("budget", "condition", "tile"),
    [
        (400, 3, (3, 3, 24, 4)),
        (3_000, None, (3, 3, 4, 4)),
        (3_000, 3, (3, 3, 8, 8)),
    ],
)
def test_tiles_of_kernels_with_different_inputs_and_units(budget, condition, tile):
    target = keras.Sequential(
        [keras.Input((6, 6, 6)), layers.Conv2D(24, 3), layers.Conv2D(40, 3, use_bias=False)]
    )
    chosen = plan(target, budget, "*kernel", condition, "tiled")
    assert chosen.generator.tile == tile
    hyper = Hypernetwork(target, chosen.generator, condition, "*kernel")
    assert chosen.stored == hyper.count_params() - 24 <= budget  # The bias stays ordinary.


@pytest.mark.parametrize("most", [100, 128, 1_000, 4_100])
def test_steps_from_128_on_are_multiples_of_16_up_to_the_longest(most):
    steps = _steps(most)
    assert steps[-1] == most
    assert all(step % 16 == 0 for step in steps[:-1] if step >= 128)


@pytest.mark.parametrize("low", [16, 32, 64, 128, 256, 512, 1024, 2048])
def test_a_doubling_has_eight_steps(low):
    # Rounding may move a step across a boundary.
    assert sum(low <= step < 2 * low for step in _steps(5_000)) in (7, 8, 9)


def test_the_smallest_default_with_a_condition_has_16_hidden_units():
    hyper = Hypernetwork(small(), condition=TaskEmbedding(num_tasks=3, dim=8))
    assert hyper.generator.hidden_units == (16,)
