"""The summary: figures that add up, lines that name who shares what."""

import keras
import pytest

from keras_hyper import (
    HyperConv2D,
    HyperDense,
    HyperGRU,
    HyperGRUCell,
    HyperLSTM,
    HyperLSTMCell,
    HyperSimpleRNN,
    LayerNormLSTM,
    TiledKernelGenerator,
    summary,
)


def model():
    kernels = TiledKernelGenerator((3, 3, 4, 4), embedding_dim=2, name="kernels")
    inputs, condition = keras.Input((8, 8, 4)), keras.Input((3,))
    x = HyperConv2D(4, 3, generator=kernels, name="one")(inputs)
    twice = HyperConv2D(4, 3, padding="same", generator=kernels, name="two")
    x = keras.layers.Flatten()(twice(twice(x)))
    x = keras.layers.Dense(5, name="plain")(x)
    x = HyperDense(40, generate_bias=True, name="three")(x, condition=condition)
    return keras.Model([inputs, condition], x)


def test_figures_add_up():
    m = model()
    lines = []
    figures = summary(m, print_fn=lines.append)
    kernels = m.get_layer("one").generator.count_params()
    dense = m.get_layer("three")
    assert figures.generated == 2 * 9 * 16 + 5 * 40 + 40
    assert figures.stored == m.count_params()
    ordinary = 4 + 4 + m.get_layer("plain").count_params()
    assert figures.plain == figures.generated + ordinary
    assert figures.ratio == pytest.approx(figures.stored / figures.plain)
    own = sum(w.stored for w in figures.weights)
    held = sum(g.stored for g in figures.generators)
    assert own + held + ordinary == figures.stored
    by_name = {g.name: g for g in figures.generators if g.name == "kernels"}
    assert by_name["kernels"].layers == ("one", "two")
    assert by_name["kernels"].stored == kernels
    first, second, kernel, bias = figures.weights
    assert (first.layer, second.layer, kernel.layer, bias.weight) == ("one", "two", "three", "bias")
    assert (first.stored, first.generated, first.shape) == (2, 144, (3, 3, 4, 4))
    assert kernel.conditioned
    generated = dense.kernel_weight
    assert kernel.stored == generated.embedding.shape[0] * generated.embedding.shape[1] * (1 + 3)
    text = "\n".join(lines)
    assert "one, two" in text
    assert "3 x 3 x 4 x 4" in text
    assert f"{figures.stored:,}" in text
    assert "generator (conditioned)" in text


def test_it_prints_by_default(capsys):
    figures = summary(model())
    assert f"generated weights: {figures.generated:,}" in capsys.readouterr().out


def test_a_model_without_generated_weights():
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    figures = summary(plain, print_fn=lambda line: None)
    assert (figures.generated, figures.stored, figures.ratio) == (0, 8, 1.0)


SMALL = {"hyper_units": 3, "embedding_dim": 2}
# What each is with ordinary weights.
RECURRENT = {
    "lstm": (lambda: HyperLSTM(4, **SMALL), lambda: keras.layers.LSTM(4), 0),
    # A gain and an offset for each gate, and for the memory.
    "norm": (lambda: HyperLSTM(4, **SMALL, layer_norm=True), lambda: keras.layers.LSTM(4), 2 * 20),
    "gru": (lambda: HyperGRU(4, **SMALL), lambda: keras.layers.GRU(4, reset_after=False), 0),
    "no bias": (
        lambda: HyperGRU(4, **SMALL, use_bias=False),
        lambda: keras.layers.GRU(4, use_bias=False),
        0,
    ),
    "rnn": (lambda: HyperSimpleRNN(4, **SMALL), lambda: keras.layers.SimpleRNN(4), 0),
    "full": (
        lambda: HyperSimpleRNN(4, **SMALL, form="full"),
        lambda: keras.layers.SimpleRNN(4),
        0,
    ),
    "one matrix": (
        lambda: HyperSimpleRNN(4, hyper_units=3, embedding_dim=1, form="full"),
        lambda: keras.layers.SimpleRNN(4),
        0,
    ),
    "cell": (
        lambda: keras.layers.RNN(HyperLSTMCell(4, **SMALL)),
        lambda: keras.layers.LSTM(4),
        0,
    ),
    "stack": (
        lambda: keras.layers.RNN([HyperLSTMCell(4, **SMALL), HyperLSTMCell(4, **SMALL)]),
        lambda: keras.layers.RNN([keras.layers.LSTMCell(4), keras.layers.LSTMCell(4)]),
        0,
    ),
    "both ways": (
        lambda: keras.layers.Bidirectional(HyperLSTM(4, **SMALL)),
        lambda: keras.layers.Bidirectional(keras.layers.LSTM(4)),
        0,
    ),
}


@pytest.mark.parametrize("case", RECURRENT)
def test_recurrent_layers_list_what_they_generate_at_every_step(case):
    make, stock, norms = RECURRENT[case]
    layer, stock = make(), stock()
    layer.build((None, 5, 3))
    stock.build((None, 5, 3))
    lines = []
    figures = summary(layer, print_fn=lines.append)
    count = len(figures.generators)
    assert count == (2 if case in ("stack", "both ways") else 1)
    assert len(figures.weights) == count * (2 if case == "no bias" else 3)
    assert figures.stored == layer.count_params()
    assert figures.generated == stock.count_params()
    assert figures.plain == stock.count_params() + norms
    own = sum(w.stored + w.base for w in figures.weights)
    assert own + sum(g.stored for g in figures.generators) + norms == figures.stored
    assert all(w.every_step and w.conditioned for w in figures.weights)
    shapes = [w.shape for w in figures.weights]
    for shape in (tuple(w.shape) for w in stock.weights):
        assert shape in shapes
    text = "\n".join(lines)
    assert f"generated weights: {figures.generated:,} ({figures.generated:,} of them at" in text
    assert "hyper_cell (at every step)" in text
    assert text.count(f"{figures.weights[0].layer} kernel, at every step: ") == 1


def test_a_hyper_cell_counts_as_a_generator():
    cell = HyperGRUCell(5, hyper_units=4, embedding_dim=2)
    cell.build((None, 3))
    (generator,) = summary(cell, print_fn=lambda line: None).generators
    # Three gates of four units, from [h; x], from the state, and a bias.
    assert generator.stored == 3 * 4 * (5 + 3) + 3 * 4 * 4 + 3 * 4
    assert generator.type == "HyperGRUCell"
    assert generator.layers == (cell.name,)


def test_a_layer_without_generated_weights_has_no_empty_tables():
    layer, lines = LayerNormLSTM(4), []
    layer.build((None, 5, 3))
    summary(layer, print_fn=lines.append)
    assert len(lines) == 3
    assert lines[0] == "generated weights: 0"


@pytest.mark.parametrize("make", [lambda: HyperDense(2), lambda: HyperLSTM(2)])
def test_a_layer_is_called_a_layer(make):
    layer, lines = make(), []
    with pytest.raises(ValueError, match=f"Layer '{layer.name}' is not built"):
        summary(layer)
    layer.build((None, 5, 3))
    summary(layer, print_fn=lines.append)
    assert lines[-1].startswith("the same layer with ordinary weights: ")
    assert "model" not in "".join(lines)


def test_an_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match="Model 'sequential.*' is not built"):
        summary(keras.Sequential([HyperDense(2)]))


@pytest.mark.parametrize("model", [None, "model.keras", HyperDense])
def test_what_is_no_layer_raises(model):
    with pytest.raises(TypeError, match="must be a Keras model or layer"):
        summary(model)
