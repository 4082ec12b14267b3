"""The summary: figures that add up, lines that name who shares what."""

import keras
import pytest

from keras_hyper import HyperConv2D, HyperDense, TiledKernelGenerator, summary


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
    slot = dense.kernel_weight
    assert kernel.stored == slot.embedding.shape[0] * slot.embedding.shape[1] * (1 + 3)
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


def test_an_unbuilt_model_is_refused():
    with pytest.raises(ValueError, match="is not built"):
        summary(keras.Sequential([HyperDense(2)]))
