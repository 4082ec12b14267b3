"""(a) A training step of WRN-40-2, its 36 kernels generated, against plain kernels."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import normal

SIZES = {"plain": False, "xla": True}
REFERENCE = "plain kernels"


def wide_resnet(generated: bool) -> Any:
    """Returns WRN-40-2 for 32 x 32 images (Zagoruyko & Komodakis, 2016)."""
    import keras
    from keras import layers

    from keras_hyper import HyperConv2D, TiledKernelGenerator

    kernels = TiledKernelGenerator((3, 3, 16, 16), embedding_dim=64)

    def conv(filters: int, strides: int = 1) -> Any:
        options = {"strides": strides, "padding": "same", "use_bias": False}
        if generated:
            return HyperConv2D(filters, 3, **options, generator=kernels)
        return layers.Conv2D(filters, 3, **options)

    def activated(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    for group, filters in enumerate((32, 64, 128)):
        for block in range(6):
            strides = 2 if group and not block else 1
            h = activated(x)
            shortcut = layers.Conv2D(filters, 1, strides, use_bias=False)(h) if not block else x
            h = conv(filters)(activated(conv(filters, strides)(h)))
            x = layers.add([h, shortcut])
    x = layers.GlobalAveragePooling2D()(activated(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def training_step(generated: bool) -> Callable[[bool], Callable[[], Any]]:
    """Returns what makes a step with a batch of 32."""

    def make(jit: bool) -> Callable[[], Any]:
        import keras
        import numpy as np

        model = wide_resnet(generated)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=jit)
        x, y = normal(32, 32, 32, 3), np.arange(32) % 10
        return lambda: model.train_on_batch(x, y)

    return make


CANDIDATES = {
    "generated kernels": Candidate("tensorflow", training_step(generated=True)),
    REFERENCE: Candidate("tensorflow", training_step(generated=False)),
}
