"""What a generator does not fit, and weights of very many numbers."""

import re
import warnings

import keras
import numpy as np
import pytest

import keras_hyper
from helpers import gradients, outputs_and_gradients, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    GeneratedWeight,
    HyperConv2D,
    HyperDense,
    LowRankGenerator,
    TiledKernelGenerator,
)
from keras_hyper.generators import generator as generator_module
from keras_hyper.generators.tiled import kernel_rank

LIMITS = {
    # Four tiles side by side, each of rank 4, and a bias.
    "rank": (
        lambda: TiledKernelGenerator((16, 16), embedding_dim=4),
        "is at most 17 of 64",
    ),
    "tile": (
        lambda: TiledKernelGenerator((100, 200), embedding_dim=64),
        "only 4,096 of the 20,000 generated values are used",
    ),
    "chunk": (
        lambda: ChunkedGenerator(10_000),
        "only 4,096 of the 10,000 generated values are used",
    ),
    "embeddings": (
        lambda: TiledKernelGenerator((2, 2), embedding_dim=8),
        "the embedding has 8,192 values, the weight only 4,096",
    ),
    "low-rank": (
        lambda: LowRankGenerator(70),
        "rank=70 exceeds 64, the maximum rank",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), LIMITS.values(), ids=LIMITS)
def test_what_cannot_be_filled_is_warned_of_once_and_reported(make, sentence, capsys):
    generator = make()
    model = keras.Sequential([keras.Input((64,))])
    with pytest.warns(UserWarning, match=f"does not fit '.*' of shape.*{sentence}"):
        model.add(HyperDense(64, generator=generator, name="first"))
    if generator.shape_free:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.add(HyperDense(64, generator=generator, name="second"))
    figures = keras_hyper.summary(model)
    assert all(any(sentence in limit for limit in w.limits) for w in figures.weights)
    assert (
        f"first kernel, {generator.name} does not fit: {figures.weights[0].limits[0]}"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (lambda: LowRankGenerator(19), (3, 3, 2, 40), {"unused": "rank=19 exceeds 18,"}),
        (lambda: LowRankGenerator(18), (3, 3, 2, 40), {}),
        (lambda: LowRankGenerator(9), (3, 3, 2, 8), {"unused": "rank=9 exceeds 8,"}),
        (lambda: ChunkedGenerator(60), (5, 6), {}),
        (lambda: ChunkedGenerator(61), (5, 6), {"unused": "only 30 of the 61 "}),
        (lambda: TiledKernelGenerator((3, 4, 4), 16), (3, 4, 2), {}),
        (
            lambda: TiledKernelGenerator((3, 4, 5), 16),
            (3, 4, 2),
            {"unused": "only 24 of the 60 "},
        ),
        (lambda: TiledKernelGenerator((3, 4, 4), 3), (3, 4, 8), {}),
        (lambda: TiledKernelGenerator((3, 8, 8), 3), (3, 8, 8), {"rank": "at most 4 of 8"}),
        (lambda: TiledKernelGenerator((2, 2), 2), (4, 4), {}),
        (lambda: TiledKernelGenerator((8, 2), 8), (8, 2), {}),
        (lambda: TiledKernelGenerator((512, 512), 512), (512, 512), {}),
        (lambda: TiledKernelGenerator((2, 2), 5), (4, 4), {"embeddings": "20 values.* 16"}),
    ],
)
def test_limits_begin_where_they_should(make, shape, expected):
    limits = make().limits(shape)
    assert limits.keys() == expected.keys()
    for kind, sentence in expected.items():
        assert re.search(sentence, limits[kind])


@pytest.mark.parametrize(
    "generator",
    [None, TiledKernelGenerator((16, 16), 32), ChunkedGenerator(500), LowRankGenerator(4)],
    ids=["default", "tiled", "chunked", "low-rank"],
)
def test_nothing_is_said_of_what_can_be_filled_or_was_not_chosen(generator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = HyperDense(64, generator=generator)
        layer.build((None, 64))
    assert generator is None or not layer.kernel_weight.limits()


@pytest.mark.parametrize("tile", [(4, 4), (8, 2), (8, 1), (2, 8), (3, 3, 4, 4), (3, 3, 8, 2)])
@pytest.mark.parametrize(("width", "hidden"), [(1, 1), (2, 1), (2, 3), (1, 6), (8, 8)])
def test_the_rank_of_tiled_kernels_is_bounded_and_the_bound_is_reached(tile, width, hidden, rng):
    keras.config.set_dtype_policy("float64")
    shape = (*tile[:-2], 8, 8)
    generated = GeneratedWeight(TiledKernelGenerator(tile, width, hidden), shape)
    generated.build(None)
    ranks = []
    for _ in range(5):
        for v in generated.weights:
            v.assign(rng.normal(size=v.shape))
        kernel = np.moveaxis(to_numpy(generated()), -2, 0).reshape(8, -1)
        # Rounding to float32, as Keras does on PyTorch, stays below this.
        tolerance = 1e-4 * np.linalg.norm(kernel, 2)
        ranks.append(np.linalg.matrix_rank(kernel, tol=tolerance))
    # A draw may come close to a lower rank.
    assert max(ranks) == kernel_rank(tile, width, hidden, shape)


MANY = {
    # Eight numbers a tile, made from 8 x 64; seven a chunk, made from 64.
    "tiled": (lambda: TiledKernelGenerator((8, 1), embedding_dim=4, hidden_dim=64), (80, 30)),
    "chunked": (lambda: ChunkedGenerator(7, (64,), "tanh"), (80, 30)),
}


@pytest.mark.parametrize(("make", "shape"), MANY.values(), ids=MANY)
@pytest.mark.parametrize("condition_dim", [None, 3], ids=["static", "conditioned"])
def test_working_in_groups_of_pieces_changes_nothing(make, shape, condition_dim, rng, monkeypatch):
    generated = GeneratedWeight(make(), shape)
    generated.build(None if condition_dim is None else (None, condition_dim))
    condition = None if condition_dim is None else rng.normal(size=(2, 3)).astype("float32")

    def results():
        def loss():
            return keras.ops.sum(keras.ops.square(generated(condition)))

        return [to_numpy(generated(condition)), *gradients(loss, generated)]

    at_once = results()
    assert generated.generator.work > 0
    monkeypatch.setattr(generator_module, "_NUMBERS_AT_ONCE", 40 * generated.generator.work)
    pieces = generated.generator.embedding_shape(shape)[0]
    assert pieces > 3 * 40
    groups = []
    call = generated.generator.call
    monkeypatch.setattr(
        generated.generator, "call", lambda e: groups.append(tuple(e.shape)) or call(e)
    )
    for one, other in zip(at_once, results(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    # Two samples have half as many pieces each in a group.
    width = generated.generator.embedding_dim
    assert max(groups) == ((40, width) if condition is None else (2, 20, width))


def test_dropout_has_one_mask_forward_and_backward(monkeypatch):
    """Half of the gradient along the head, which the weight is linear in, is the loss."""
    monkeypatch.setattr(generator_module, "_NUMBERS_AT_ONCE", 2**8)
    generated = GeneratedWeight(ChunkedGenerator(10, (16,), dropout=0.5, seed=1), (8, 40))
    generated.build(None)

    def loss():
        square = keras.ops.sum(keras.ops.square(generated(training=True))) / 2
        return square, keras.ops.stop_gradient(square)

    square, grads = outputs_and_gradients(loss, generated)
    names = [v.path for v in generated.trainable_variables]
    along = sum(
        np.sum(grad * v.numpy())
        for name, grad, v in zip(names, grads, generated.trainable_variables, strict=True)
        if "head" in name
    )
    assert along == pytest.approx(2 * float(square), rel=1e-5)


LARGE = {
    "tiled": lambda: TiledKernelGenerator((64, 64), embedding_dim=16),
    "tiled-small": lambda: TiledKernelGenerator((8, 4), embedding_dim=8),
    "chunked": lambda: ChunkedGenerator(5000, (32,)),
    "chunked-small": lambda: ChunkedGenerator(50, (64,)),
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_ten_million_numbers_keep_their_variance(make):
    generated = GeneratedWeight(make(), (2500, 4000), "he_normal")
    generated.build(None)
    mean_square = np.mean(to_numpy(generated()) ** 2)
    # Exact where a piece has more numbers than the layer before it. Where it has
    # fewer, 4 or 50 columns cut the features' length of 1 off at random.
    small = generated.generator.work > 0
    assert mean_square == pytest.approx(2 / 2500, rel=0.1 if small else 1e-3)


@pytest.mark.tensorflow
@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE)
def test_ten_million_numbers_stay_within_three_times_their_memory(make):
    """No tensor is larger than the grid of pieces; one after the other, three at once."""
    import tensorflow as tf

    shape = (2500, 4000)
    generated = GeneratedWeight(make(), shape, "he_normal")
    generated.build(None)
    graph = tf.function(lambda: generated()).get_concrete_function().graph
    sizes = {}
    for function in [graph, *(f.graph for f in getattr(graph, "_functions", {}).values())]:
        for op in function.get_operations():
            for output in op.outputs:
                sizes[output.name] = output.shape.num_elements() or 0
    # Pieces may reach beyond the weight; the groups, 2**22 numbers, are small.
    assert max(sizes.values()) <= 1.1 * 10**7


def test_a_weight_in_groups_is_trained_by_fit(rng, monkeypatch):
    monkeypatch.setattr(generator_module, "_NUMBERS_AT_ONCE", 2**8)
    layer = HyperConv2D(8, 3, generator=TiledKernelGenerator((3, 3, 2, 1), 8, 16))
    model = keras.Sequential([keras.Input((6, 6, 8)), layer, keras.layers.Flatten()])
    assert layer.kernel_weight.embedding.shape[0] > 2**8 // layer.generator.work
    model.compile("adam", "mse")
    x = rng.normal(size=(4, 6, 6, 8)).astype("float32")
    history = model.fit(x, np.ones((4, 128), "float32"), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
