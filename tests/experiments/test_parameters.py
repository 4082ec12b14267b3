"""Parameter counts of the models, which are those of the paper."""

import dataclasses

import keras
import pytest

from experiments import (
    characters,
    cifar10_wrn,
    enwik8,
    handwriting,
    mnist_static,
    ptb_char,
    training,
)
from experiments.recurrent import fitted

JAX = keras.backend.backend() == "jax"


def count(make):
    """Returns how many numbers a model would train, without making them."""
    if JAX:
        # Keras makes there, later, what was not made here: matrices of 100 million numbers.
        pytest.skip("sizes do not depend on the backend")
    with keras.StatelessScope(initialize_variables=False):
        return training.trained(make())


# Ha, Dai & Le, tables 2 to 5 and 7.
@pytest.mark.parametrize(
    ("width", "model", "parameters"),
    [
        (1, "ordinary", 562_762),
        (1, "generated", 96_602),
        (2, "ordinary", 2_235_530),
        (2, "generated", 147_610),
    ],
)
def test_wide_residual_networks_have_the_parameters_of_table_2(width, model, parameters):
    config = cifar10_wrn.WrnConfig(model=model, width=width)
    assert count(lambda: cifar10_wrn.build(config)) == parameters


@pytest.mark.parametrize(
    ("preset", "more", "parameters"),
    [
        ("paper", {"model": "LSTM"}, 4_254_050),
        ("paper", {"model": "LSTM", "units": 1250}, 6_567_550),
        ("paper", {"model": "LSTM", "depth": 2}, 12_258_050),
        ("paper", {"model": "LN-LSTM"}, 4_260_050),
        ("paper", {"model": "HyperLSTM"}, 4_911_874),
        ("paper", {"model": "LN-HyperLSTM"}, 4_923_154),
        # The paper prints 5.06 million, and 14.41 for two layers of the same.
        ("large_embedding", {}, 5_085_682),
        ("two_layers", {}, 14_407_714),
    ],
)
def test_character_models_have_the_parameters_of_table_3(preset, more, parameters):
    config = characters.CharacterConfig(**{**ptb_char.PRESETS[preset], **more})
    assert count(lambda: characters.build(config, 50)[0]) == parameters


@pytest.mark.parametrize(
    ("preset", "more", "parameters"),
    [
        ("paper", {"model": "LSTM"}, 14_812_405),
        ("paper", {"model": "LSTM", "units": 2000}, 18_058_205),
        ("paper", {"model": "LN-LSTM"}, 14_823_205),
        ("paper", {"model": "HyperLSTM"}, 18_708_213),
        # The paper prints 18.78 million.
        ("paper", {"model": "LN-HyperLSTM"}, 18_728_773),
        ("large", {}, 26_541_773),
    ],
)
def test_character_models_have_the_parameters_of_table_4(preset, more, parameters):
    config = characters.CharacterConfig(**{**enwik8.PRESETS[preset], **more})
    assert count(lambda: characters.build(config, 205)[0]) == parameters


@pytest.mark.parametrize(
    ("more", "parameters"),
    [
        ({"model": "LSTM"}, 3_363_421),
        ({"model": "LSTM", "units": 400, "depth": 3}, 3_258_121),
        ({"model": "LSTM", "units": 1000}, 4_137_121),
        ({"model": "LSTM", "units": 650, "depth": 2}, 5_161_771),
        ({"model": "LN-LSTM"}, 3_368_821),
        ({"model": "LN-LSTM", "units": 1000}, 4_143_121),
        ({"model": "LN-HyperLSTM"}, 3_951_461),
        ({"model": "HyperLSTM"}, 3_941_181),
    ],
)
def test_handwriting_models_have_the_parameters_of_table_5(more, parameters):
    config = handwriting.HandwritingConfig(**{**handwriting.PRESETS["paper"], **more})
    assert count(lambda: handwriting.build(config)[0]) == parameters


@pytest.mark.parametrize(
    ("model", "second", "parameters"), [("ordinary", 12_544, 21_210), ("generated", 4_244, 12_910)]
)
def test_the_second_kernel_has_the_parameters_of_table_7(model, second, parameters):
    with pytest.warns(UserWarning, match="rank") if model == "generated" else _nothing():
        network = mnist_static.build(mnist_static.MnistConfig(model=model))
    assert mnist_static.kernel_size(network) == second
    assert training.trained(network) == parameters


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *args):
        return False


def test_units_are_the_most_that_fit():
    config = characters.CharacterConfig(parameters=20_000, hyper_units=16, model="HyperLSTM")

    def build(config):
        return characters.build(config, 30)[0]

    units = fitted(config, build).units
    assert training.trained(build(dataclasses.replace(config, units=units))) <= 20_000
    assert training.trained(build(dataclasses.replace(config, units=units + 1))) > 20_000
    with pytest.raises(SystemExit, match="--parameters 500 is too few"):
        fitted(dataclasses.replace(config, parameters=500), build)
