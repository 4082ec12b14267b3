"""What the pictures show, read from what was drawn."""

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers

from helpers import to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperConv1D,
    HyperConv2D,
    HyperConv2DTranspose,
    HyperConv3D,
    HyperDense,
    HyperDepthwiseConv2D,
    HyperEmbedding,
    HyperGRU,
    HyperLSTM,
    TaskEmbedding,
    record_weights,
    visualize,
)
from keras_hyper.inspect.images import kernel_image, kernel_tiles


@pytest.fixture(autouse=True)
def no_screen():
    import matplotlib.pyplot as plt

    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    plt.close("all")
    matplotlib.use(backend)


@pytest.mark.parametrize(
    ("layer", "shape", "tile"),
    [
        (HyperConv1D, (None, 9, 2), (3, 1)),
        (HyperConv2D, (None, 9, 9, 2), (3, 3)),
        (HyperConv3D, (None, 9, 9, 9, 2), (3, 3)),
    ],
)
def test_every_pair_of_channels_has_a_tile(layer, shape, tile):
    layer = layer(4, 3)
    layer.build(shape)
    axes = visualize.kernels(layer)
    picture = axes.images[0].get_array().filled(np.nan)
    assert picture.shape == (2 * tile[0] + 1, 4 * tile[1] + 3)
    kernel = to_numpy(layer.generate()["kernel"])
    spatial = kernel.reshape(-1, *tile, 2, 4)[0] if kernel.ndim > 3 else kernel[:, None]
    for i in range(2):
        for j in range(4):
            top, left = i * (tile[0] + 1), j * (tile[1] + 1)
            np.testing.assert_array_equal(
                picture[top : top + tile[0], left : left + tile[1]], spatial[:, :, i, j]
            )
    assert np.isnan(picture[tile[0]]).all()
    assert axes.images[0].norm.vmax == -axes.images[0].norm.vmin == np.abs(spatial).max()
    assert axes.images[0].colorbar is not None
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "1"]


def test_large_weights_are_cut(rng):
    assert kernel_tiles(rng.normal(size=(3, 3, 50, 50))).shape == (8 * 4 - 1, 8 * 4 - 1)
    assert kernel_tiles(rng.normal(size=(3, 3, 1, 50))).shape == (3, 50 * 4 - 1)
    assert kernel_tiles(rng.normal(size=(3, 3, 50, 4)), most=8).shape == (4 * 4 - 1, 2 * 4 - 1)
    assert kernel_tiles(rng.normal(size=(100, 5))).shape == (64, 5)
    assert kernel_tiles(rng.normal(size=7)).shape == (1, 7)


def test_zero_is_in_the_middle_of_grey():
    image = kernel_image(np.array([[-2.0, 0.0], [1.0, 0.5]]))
    np.testing.assert_allclose(image, [[0, 0.5], [0.75, 0.625]])
    np.testing.assert_array_equal(kernel_image(np.zeros((2, 2))), np.full((2, 2), 0.5))


def test_a_conditioned_layer_is_drawn_for_a_condition(rng):
    layer, condition = HyperDense(3), np.ones(2, "float32")
    layer(np.ones((1, 4), "float32"), condition=condition)
    axes = visualize.kernels(layer, condition=condition)
    expected = to_numpy(layer.generate(condition)["kernel"])
    np.testing.assert_array_equal(axes.images[0].get_array(), expected)


@pytest.mark.parametrize("dim", [None, 2])
@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (lambda: HyperEmbedding(5, 3), np.ones((1, 2), "int32")),
        (lambda: HyperDense(3), np.ones((1, 5), "float32")),
        (lambda: HyperDepthwiseConv2D((5, 3)), np.ones((1, 6, 6, 1), "float32")),
        (lambda: HyperConv2DTranspose(1, (5, 3)), np.ones((1, 6, 6, 1), "float32")),
    ],
    ids=["embedding", "dense", "depthwise", "transpose"],
)
def test_every_layer_is_drawn(layer, inputs, dim):
    layer, condition = layer(), None if dim is None else np.ones(dim, "float32")
    layer(inputs, condition=condition)
    picture = visualize.kernels(layer, condition=condition).images[0].get_array()
    (weight,) = (w for n, w in layer.generate(condition).items() if n != "bias")
    np.testing.assert_array_equal(picture, to_numpy(weight).reshape(5, 3))


@pytest.mark.parametrize("shape", [(2, 2), (1, 2), ()])
@pytest.mark.parametrize("layer", [lambda: HyperEmbedding(4, 3), lambda: HyperDense(3)])
def test_several_conditions_at_once_raise(layer, shape):
    layer = layer()
    layer(np.ones((1, 5), "float32"), condition=np.ones(2, "float32"))
    with pytest.raises(ValueError, match=r"one condition of shape \(dim,\)"):
        visualize.kernels(layer, condition=np.ones(shape, "float32"))


TEXT = "A strip of text that is longer than one line."


@pytest.mark.parametrize(("layer", "gates"), [(HyperLSTM, 4), (HyperGRU, 3)])
def test_changes_are_above_their_tokens(layer, gates, rng):
    layer, x = layer(5, hyper_units=3), rng.normal(size=(2, len(TEXT), 3)).astype("float32")
    layer(x)
    for v in layer.trainable_variables:
        v.assign(to_numpy(v) + 0.3 * rng.normal(size=v.shape))
    record = record_weights(layer, x)
    axes = visualize.weight_changes(record, TEXT, matrix="kernel", sample=1, width=20)
    strip = axes.images[0].get_array().filled(np.nan)
    changes = to_numpy(record.changes["kernel"])[1]
    assert strip.shape == (3 * (gates + 2) - 1, 20)
    for text, (step, character) in zip(axes.texts, enumerate(TEXT), strict=True):
        column, row = text.get_position()
        assert text.get_text() == character
        np.testing.assert_allclose(
            strip[row - gates : row, column], changes[step] / changes.max(axis=0), rtol=1e-5
        )
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(names) == 3 * gates
    assert names[:gates] == names[gates : 2 * gates]


def test_saturation_is_a_share(rng):
    layer, x = HyperLSTM(5, hyper_units=3), rng.normal(size=(2, 4, 3)).astype("float32")
    layer(x)
    axes = visualize.saturation({"one": record_weights(layer, x), "two": record_weights(layer, x)})
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    (outline,) = {patch.get_xy()[:, 1].max() for patch in axes.patches}
    values = to_numpy(record_weights(layer, x).saturation).ravel()
    counts, _ = np.histogram(values, np.linspace(-1, 1, 41))
    np.testing.assert_allclose(outline, counts.max() / values.size)


def test_embeddings_in_a_plane_keep_their_distances(rng):
    plane = rng.normal(size=(5, 2)) @ np.linalg.qr(rng.normal(size=(6, 2)))[0].T
    axes = visualize.embeddings(plane, list("abcde"))
    places = axes.collections[0].get_offsets()

    def distances(x):
        return np.linalg.norm(x[:, None] - x[None], axis=-1)

    np.testing.assert_allclose(distances(np.asarray(places)), distances(plane), atol=1e-5)
    assert [text.get_text() for text in axes.texts] == list("abcde")
    assert "component" in axes.get_xlabel()


def test_lines_lead_from_generators_to_their_weights():
    shared = ChunkedGenerator(5, name="shared")
    model = keras.Sequential(
        [
            keras.Input((4,)),
            HyperDense(6, generator=shared, name="a"),
            layers.Dense(3),
            HyperDense(5, generator=ChunkedGenerator(5, name="other"), name="b"),
            HyperDense(2, generator=shared, generate_bias=True, name="c"),
        ]
    )
    axes = visualize.sharing(model)
    heights = {text.get_position()[1]: text.get_text() for text in axes.texts}
    places = {text: height for height, text in heights.items()}
    drawn = {(line.get_ydata()[0], line.get_ydata()[1]) for line in axes.lines}
    names = {
        (
            next(t for t, h in places.items() if h == x and "stored" in t).split(" ")[0],
            next(t for t, h in places.items() if h == y and "generated" in t).split("\n")[0],
        )
        for x, y in drawn
    }
    assert names == {
        ("shared", "a, kernel"),
        ("other", "b, kernel"),
        ("shared", "c, kernel"),
        ("generator", "c, bias"),
    }


def test_hyper_cells_are_drawn_as_generators():
    model = keras.Sequential([keras.Input((5, 3)), HyperGRU(4, hyper_units=3, name="gru")])
    texts = [text.get_text() for text in visualize.sharing(model).texts]
    assert texts[:3] == [
        "gru, kernel\n3 x 12: 36 generated",
        "gru, recurrent_kernel\n4 x 12: 48 generated",
        "gru, bias\n12: 12 generated",
    ]
    assert texts[3] == "gru/hyper_cell (HyperGRUCell)\n99 stored"


def record():
    layer, x = HyperLSTM(5, hyper_units=3), np.ones((2, 4, 3), "float32")
    layer(x)
    return record_weights(layer, x)


def of_a_gru():
    layer, x = HyperGRU(5, hyper_units=3), np.ones((2, 4, 3), "float32")
    layer(x)
    return record_weights(layer, x)


REFUSED = {
    "not built": (lambda: visualize.kernels(HyperDense(3)), "is not built"),
    "most": (lambda: visualize.kernels(np.ones((2, 2)), most=0), "`most` must be"),
    "tokens": (lambda: visualize.weight_changes(record(), "abc"), "2 sequences of 4 steps"),
    "sample": (lambda: visualize.weight_changes(record(), "abcd", sample=2), "sample=2"),
    "matrix": (lambda: visualize.weight_changes(record(), "abcd", "c"), "must be one of"),
    "memory": (lambda: visualize.saturation({"gru": of_a_gru()}), r"without a memory: \['gru'\]"),
    "no record": (lambda: visualize.saturation({}), "must be of layers with a memory"),
    "no table": (lambda: visualize.embeddings(TaskEmbedding(3, 2)), "is not built. Call it"),
    "a line": (lambda: visualize.embeddings(np.ones((3, 1))), r"shape \(3, 1\)"),
    "labels": (lambda: visualize.embeddings(np.ones((3, 2)), ["a"]), "1 `labels`"),
    "plain": (lambda: visualize.sharing(plain()), "no generated weights"),
}


def plain():
    return keras.Sequential([keras.Input((3,)), layers.Dense(2)])


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


WRONG_TYPES = {
    "text": lambda: visualize.kernels("kernel"),
    "class": lambda: visualize.kernels(layers.Dense),
    "stock layer": lambda: visualize.kernels(layers.Dense(3)),
    "points": lambda: visualize.embeddings("abc"),
    "record": lambda: visualize.weight_changes(None, "abc"),
    "records": lambda: visualize.saturation(record()),
    "in records": lambda: visualize.saturation({"a": record(), "b": None}),
    "sequences": lambda: record_weights(built_lstm(), "abc"),
}


def built_lstm():
    layer = HyperLSTM(3)
    layer.build((None, 5, 3))
    return layer


@pytest.mark.parametrize("case", WRONG_TYPES)
def test_wrong_types_raise(case):
    with pytest.raises(TypeError, match="must be"):
        WRONG_TYPES[case]()


@pytest.mark.parametrize("rank", [0, 6])
def test_arrays_that_are_no_weight_raise(rank):
    with pytest.raises(ValueError, match="one to five axes"):
        visualize.kernels(np.ones((2,) * rank))


@pytest.mark.parametrize("dtype", ["int32", "bool", "float16", "bfloat16"])
def test_arrays_of_any_number_are_drawn(dtype):
    weight = keras.ops.ones((2, 3), dtype=dtype)
    np.testing.assert_array_equal(visualize.kernels(weight).images[0].get_array(), np.ones((2, 3)))
