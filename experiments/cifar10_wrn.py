"""Wide residual networks on CIFAR-10: Ha, Dai & Le, "HyperNetworks", section 4.2, A.3.2, table 2.

WRN 40-1 and 40-2. In the generated form one generator makes all 36 kernels of the three stages out
of tiles of 3 x 3 x 16 x 16, from embeddings of 64 numbers. The paper does not say how channels
grow in the shortcuts and where there are biases; here they grow by zeros, every convolution has a
bias, and there is a normalisation after the first one: these give all four parameter counts of
table 2.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from experiments.config import Config, option, parse
from experiments.data import cifar10
from experiments.images import cut_out, figures
from experiments.pipeline import shuffled_rows
from experiments.training import Task, run
from keras_hyper import HyperConv2D, TiledKernelGenerator

MODELS = ("ordinary", "generated")
# Rates of equal parts of the training (A.3.2).
SGD = (0.1, 0.02, 0.004, 0.0008, 0.00016)
ADAM = (0.002, 0.001, 0.0002, 0.00005)


@dataclasses.dataclass(frozen=True)
class WrnConfig(Config):
    """What is special about it."""

    model: str = option("generated", "how the kernels come about", MODELS)
    width: int = option(1, "factor of the channels: 1 for WRN 40-1, 2 for WRN 40-2")
    blocks: int = option(6, "of each stage: 6 for 40 layers")
    embedding_dim: int = option(64, "of a tile")
    l2: float = option(2.5e-4, "penalty of the sum of squares of all kernels, generated or not")
    images: str = option("cifar10", "which ones", ("cifar10", "made"))
    learning_rate: float = option(1.0, "factor of the rates of the paper")


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"model": "ordinary", "steps": 140_000, "evaluate_every": 1000},
    "paper_generated": {"model": "generated", "steps": 672_000, "evaluate_every": 1000},
    "small": {"steps": 3520, "evaluate_every": 352},
    "smoke": {
        "steps": 4,
        "evaluate_every": 2,
        "blocks": 1,
        "batch_size": 16,
        "images": "made",
    },
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for."""
    prog = "python -m experiments.cifar10_wrn"
    config = parse(WrnConfig, PRESETS, prog, str(__doc__), arguments)
    return run("cifar10_wrn", config, task)


def build(config: WrnConfig) -> keras.Model:
    """Returns the network."""
    penalty = keras.regularizers.L2(config.l2)
    generator = TiledKernelGenerator((3, 3, 16, 16), config.embedding_dim, name="tiles")

    def convolution(filters: int, strides: int) -> Any:
        options: dict[str, Any] = {
            "strides": strides,
            "padding": "same",
            "kernel_initializer": "he_normal",
            "kernel_regularizer": penalty,
        }
        if config.model == "ordinary":
            return layers.Conv2D(filters, 3, **options)
        return HyperConv2D(filters, 3, generator=generator, **options)

    def normalized(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input((32, 32, 3))
    first = layers.Conv2D(
        16, 3, padding="same", kernel_initializer="he_normal", kernel_regularizer=penalty
    )
    x = normalized(first(inputs))
    for stage, filters in enumerate(16 * config.width * np.array([1, 2, 4])):
        for block in range(config.blocks):
            strides = 2 if stage and not block else 1
            y = convolution(int(filters), strides)(normalized(x))
            y = convolution(int(filters), 1)(normalized(y))
            shortcut = layers.AveragePooling2D(strides)(x) if strides > 1 else x
            x = layers.Add()([MoreChannels(int(filters))(shortcut), y])
    x = layers.GlobalAveragePooling2D()(normalized(x))
    return keras.Model(inputs, layers.Dense(10, dtype="float32", name="head")(x))


@keras.saving.register_keras_serializable("experiments")
class MoreChannels(layers.Layer):
    """Adds channels of zeros, half of them before and half after those that there are."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def call(self, inputs: Any) -> Any:
        """Returns the images with more channels."""
        more = self.filters - inputs.shape[-1]
        return ops.pad(inputs, [(0, 0)] * 3 + [(more // 2, more - more // 2)]) if more else inputs

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {**super().get_config(), "filters": self.filters}


def task(config: WrnConfig) -> Task:
    """Returns what is trained."""
    made = config.images == "made"
    train, test = cifar10.generated() if made else cifar10.load(config.data_dir)
    # Chosen at random, and the same for every seed of a run.
    order = np.random.default_rng(0).permutation(len(train[0]))
    held = len(order) // 10
    validation = train[0][order[:held]], train[1][order[:held]]
    images, labels = train[0][order[held:]], train[1][order[held:]]
    mean, deviation = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))

    def scaled(images: np.ndarray) -> np.ndarray:
        return ((images - mean) / deviation).astype("float32")

    model = build(config)
    model.compile(
        optimizer(config),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=config.jit_compile,
    )

    def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = shuffled_rows(step, config.batch_size, len(images), config.seed)
        rng = np.random.default_rng((config.seed, step))
        return augment(scaled(images[rows]), rng), labels[rows]

    return Task(
        model,
        batch,
        validate=lambda: figures(model, scaled(validation[0]), validation[1]),
        test=lambda: figures(model, scaled(test[0]), test[1]),
        monitor="error",
    )


def optimizer(config: WrnConfig) -> keras.optimizers.Optimizer:
    """Returns Nesterov's momentum for stored kernels, Adam for generated ones."""
    rates = SGD if config.model == "ordinary" else ADAM
    boundaries = [config.steps * n // len(rates) for n in range(1, len(rates))]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        boundaries, [config.learning_rate * r for r in rates]
    )
    if config.model == "ordinary":
        # The paper does not give the coefficient.
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return keras.optimizers.Adam(rate)


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns images cut out of images with a margin of 2, half of them mirrored."""
    cut = cut_out(np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))), 32, rng)
    mirrored = rng.random(len(images)) < 0.5
    return np.where(mirrored[:, None, None, None], cut[:, :, ::-1], cut)


if __name__ == "__main__":
    main()
