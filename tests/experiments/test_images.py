"""MNIST and CIFAR-10: augmentation, learning rates, penalty."""

import keras
import numpy as np
import pytest

from experiments import cifar10_wrn, mnist_static
from experiments.config import parse
from helpers import to_numpy
from keras_hyper import HyperConv2D


@pytest.mark.parametrize("how", ["none", "crop", "stretch"])
def test_augmented_digits_are_the_same_digits_at_another_place(how, rng):
    images = np.zeros((50, 28, 28, 1), "float32")
    images[:, 10:18, 12:16] = 1
    found = mnist_static.augment(images, how, rng)
    assert found.shape == images.shape
    if how == "none":
        assert found is images
        return
    ink = found.sum(axis=(1, 2, 3))
    assert (ink == 32).all() if how == "crop" else (ink >= 32).all()
    tops = {int(np.flatnonzero(image[..., 0].any(axis=1))[0]) for image in found}
    assert tops == {9, 10, 11} if how == "crop" else len(tops) >= 3


def test_augmented_pictures_are_moved_and_mirrored(rng):
    images = np.zeros((200, 32, 32, 3), "float32")
    images[:, 10, 5] = 1
    found = cifar10_wrn.augment(images, rng)
    rows, columns = np.nonzero(found.any(axis=-1).any(axis=0))
    assert set(rows) == {8, 9, 10, 11, 12}
    assert set(columns) == {3, 4, 5, 6, 7, 24, 25, 26, 27, 28}


@pytest.mark.parametrize(
    ("preset", "rates"),
    [
        ("paper", {0: 0.1, 27_999: 0.1, 28_001: 0.02, 84_001: 0.0008, 139_999: 0.00016}),
        ("paper_generated", {0: 0.002, 168_001: 0.001, 336_001: 0.0002, 671_999: 0.00005}),
    ],
)
def test_wide_residual_networks_learn_at_the_rates_of_the_paper(preset, rates):
    config = parse(cifar10_wrn.WrnConfig, cifar10_wrn.PRESETS, "x", "y", ["--preset", preset])
    schedule = cifar10_wrn.optimizer(config).get_config()["learning_rate"]
    rate = keras.saving.deserialize_keras_object(schedule)
    for step, wanted in rates.items():
        assert float(rate(step)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("model", ["ordinary", "generated"])
def test_the_penalty_is_of_kernels_stored_or_generated(model):
    config = cifar10_wrn.WrnConfig(model=model, blocks=1)
    network = cifar10_wrn.build(config)
    network(np.zeros((1, 32, 32, 3), "float32"))
    squares = 0.0
    for layer in network.layers:
        if isinstance(layer, HyperConv2D):
            squares += np.square(to_numpy(layer.generate()["kernel"])).sum()
        elif isinstance(layer, keras.layers.Conv2D):
            squares += np.square(to_numpy(layer.kernel)).sum()
    assert squares > 0
    # 0.0005 times half of the squares.
    found = sum(float(loss) for loss in network.losses)
    assert found == pytest.approx(0.00025 * squares, rel=1e-4)


def test_a_rate_falls_down_to_its_floor():
    rate = mnist_static.FloorDecay(0.1, 0.5, 0.02)
    found = [float(rate(step)) for step in range(4)]
    assert found == pytest.approx([0.1, 0.05, 0.025, 0.02])


def test_channels_grow_by_zeros(rng):
    x = rng.normal(size=(2, 3, 3, 4)).astype("float32")
    y = to_numpy(cifar10_wrn.MoreChannels(8)(x))
    np.testing.assert_array_equal(y[..., 2:6], x)
    assert not y[..., :2].any()
    assert not y[..., 6:].any()
