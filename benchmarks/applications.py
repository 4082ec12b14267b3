"""(s) A training step of convolutional networks for 32 x 32 images, all kernels generated.

The default generator, with one learned embedding. At batch 8 the generator's own products
weigh as much as the network: the time is relative to that of the plain step and of bare
matrix products of the same shapes, forward and backward. At batch 64 it is relative to the
plain step alone.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import normal

NETWORKS = ("MobileNetV2", "ResNet50", "EfficientNetB0")
SIZES = {f"{name}, batch {batch}": (name, batch) for batch in (8, 64) for name in NETWORKS}
GENERATED, PLAIN, PRODUCTS = "all kernels generated", "plain kernels", "products of the generator"


def network(name: str, generated: bool) -> Any:
    """Returns a compiled classifier of images.

    Args:
        name: Name of its function in `keras.applications`.
        generated: Whether its kernels are generated.
    """
    import keras

    from keras_hyper import Hypernetwork

    model = getattr(keras.applications, name)(input_shape=(32, 32, 3), weights=None, classes=10)
    if generated:
        model = Hypernetwork(model, include="*kernel")
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    return model


def images(batch: int) -> tuple[Any, Any]:
    """Returns images and labels."""
    import numpy as np

    return normal(batch, 32, 32, 3), np.arange(batch) % 10


def training(generated: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a training step."""

    def make(size: Any) -> Callable[[], Any]:
        name, batch = size
        model, (x, y) = network(name, generated), images(batch)
        return lambda: model.train_on_batch(x, y)

    return make


def products(size: Any) -> Callable[[], Any]:
    """Returns the products of the generator's dense layers, with those of their gradients.

    In each the rows are the chunks of all kernels.
    """
    import tensorflow as tf

    hyper = network(size[0], generated=True)
    generator = hyper.generator
    rows = sum(
        generator.embedding_shape(shape)[0]
        for shape in (weight.generated_shape for weight in hyper.generated_weights.values())
    )
    matrices = [tuple(v.shape) for v in generator.trainable_variables if len(v.shape) == 2]
    inputs = [tf.constant(normal(rows, fan_in)) for fan_in, _ in matrices]
    weights = [tf.constant(normal(*shape)) for shape in matrices]
    gradients = [tf.constant(normal(rows, units)) for _, units in matrices]

    @tf.function(jit_compile=False)
    def step() -> Any:
        results = []
        for x, weight, gradient in zip(inputs, weights, gradients, strict=True):
            results += [x @ weight, tf.matmul(gradient, weight, transpose_b=True)]
            results.append(tf.matmul(x, gradient, transpose_a=True))
        # A tensor that is used keeps its product.
        return [result[0, 0] for result in results]

    return lambda: step()[0].numpy()


CANDIDATES = {
    GENERATED: Candidate("tensorflow", training(generated=True)),
    PLAIN: Candidate("tensorflow", training(generated=False)),
    PRODUCTS: Candidate("tensorflow", products),
}


def references(size: Any) -> dict[str, tuple[str, ...]]:
    """Returns what the step with generated kernels is compared with."""
    return {GENERATED: (PLAIN, PRODUCTS) if size[1] == 8 else (PLAIN,)}
