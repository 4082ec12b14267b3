"""MNIST with a generated kernel: Ha, Dai & Le, "HyperNetworks", section 4.1, A.3.1 and table 7.

Two convolutions of 16 channels with kernels of 7 x 7, each with a pooling after it, and a dense
layer. The kernel of the second convolution is stored, or made by the paper's generator from an
embedding of 4 numbers. The model is chosen on 5,000 of the training images.
"""

import dataclasses
import sys
from typing import Any

import keras
import numpy as np
from keras import layers

from experiments.config import Config, option, parse
from experiments.data import mnist
from experiments.images import cut_out, figures
from experiments.pipeline import shuffled_rows
from experiments.training import Task, run
from keras_hyper import HyperConv2D, TiledKernelGenerator

MODELS = ("ordinary", "generated")


@dataclasses.dataclass(frozen=True)
class MnistConfig(Config):
    """What is special about it."""

    model: str = option("generated", "how the second kernel comes about", MODELS)
    embedding_dim: int = option(4, "width of its embedding")
    initialization: str = option("variance", "of its generator: variance, or that of the notebook")
    augmentation: str = option("crop", "of the images", ("none", "crop", "stretch"))
    rate_decay: float = option(1.0, "factor of the learning rate, for each update")
    least_rate: float = option(0.0, "below which it does not fall")
    clip: float = option(0.0, "norm of all gradients together, 0 to leave them")
    digits: str = option("mnist", "which ones", ("mnist", "bundled"))


FIFTY_EPOCHS = {"steps": 2750, "batch_size": 1000, "evaluate_every": 55}
PRESETS: dict[str, dict[str, Any]] = {
    "paper": FIFTY_EPOCHS,
    "small": FIFTY_EPOCHS,
    # The notebook of the paper's author, which differs from the paper in these.
    "notebook": {
        **FIFTY_EPOCHS,
        "learning_rate": 0.005,
        "rate_decay": 0.999,
        "least_rate": 1e-4,
        "clip": 100.0,
        "augmentation": "stretch",
        "initialization": "paper",
    },
    "smoke": {"steps": 30, "batch_size": 64, "evaluate_every": 10, "digits": "bundled"},
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for."""
    prog = "python -m experiments.mnist_static"
    config = parse(MnistConfig, PRESETS, prog, str(__doc__), arguments)
    return run("mnist_static", config, task)


def build(config: MnistConfig) -> keras.Model:
    """Returns the network."""
    small = keras.initializers.TruncatedNormal(stddev=0.01)
    notebook = {"kernel_initializer": small} if config.initialization == "paper" else {}
    options: dict[str, Any] = {"padding": "same", "activation": "relu"}
    if config.model == "ordinary":
        second = layers.Conv2D(16, 7, name="second", **options, **notebook)
    else:
        generator = TiledKernelGenerator(
            (7, 7, 16, 16), config.embedding_dim, initialization=config.initialization
        )
        second = HyperConv2D(16, 7, generator=generator, name="second", **options)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 7, name="first", **options, **notebook),
            layers.MaxPooling2D(),
            second,
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, kernel_initializer="orthogonal", name="head"),
        ]
    )


def task(config: MnistConfig) -> Task:
    """Returns what is trained."""
    (images, labels), validation, test = mnist.divided(config.digits, config.data_dir)
    model = build(config)
    rate: Any = config.learning_rate
    if config.rate_decay < 1:
        rate = FloorDecay(rate, config.rate_decay, config.least_rate)
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=config.clip or None),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.jit_compile,
    )

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = shuffled_rows(step, config.batch_size, len(images), config.seed)
        rng = np.random.default_rng((config.seed, step))
        return augment(images[rows], config.augmentation, rng), labels[rows]

    return Task(
        model,
        batch,
        validate=lambda: figures(model, *validation),
        test=lambda: figures(model, *test),
        monitor="error",
        about={"second_kernel": kernel_size(model)},
    )


def kernel_size(model: keras.Model) -> int:
    """Returns how many numbers stand for the second kernel."""
    layer = model.get_layer("second")
    return sum(int(np.prod(v.shape)) for v in layer.trainable_variables if v is not layer.bias)


def augment(images: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """Returns images of 28 x 28 cut out of images of 30 x 30, each at a place of its own."""
    if how == "none":
        return images
    if how == "crop":
        large = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    else:
        large = images
        for _ in range(2):
            large = _stretched(_stretched(large, 1, rng), 2, rng)
    return cut_out(large, 28, rng)


def _stretched(images: np.ndarray, axis: int, rng: np.random.Generator) -> np.ndarray:
    """Returns images with a row or column more, the mean of its neighbours."""
    place = int(rng.integers(1, images.shape[axis]))
    before, after = np.split(images, [place], axis=axis)
    between = (before.take([-1], axis=axis) + after.take([0], axis=axis)) / 2
    return np.concatenate([before, between, after], axis=axis)


@keras.saving.register_keras_serializable("experiments")
class FloorDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that falls by a factor at every step, down to a floor."""

    def __init__(self, first: float, factor: float, least: float) -> None:
        self.first, self.factor, self.least = first, factor, least

    def __call__(self, step: Any) -> Any:
        """Returns the rate of a step."""
        power = keras.ops.power(self.factor, keras.ops.cast(step, "float32"))
        return keras.ops.maximum(self.first * power, self.least)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"first": self.first, "factor": self.factor, "least": self.least}


if __name__ == "__main__":
    main()
    sys.exit(0)
