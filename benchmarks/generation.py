"""(n) Generating the weights of a ResNet-32, about 460,000, in chunks, without using them."""

import math
from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.worker import threads

SIZES = {"chunks of 3,000": 3000}
REFERENCE = "hypnettorch"
EMBEDDING, HIDDEN = 32, 100


def resnet_shapes() -> list[tuple[int, ...]]:
    """Returns the shapes of the kernels of ResNet-32 for CIFAR-10 (He et al., 2015)."""
    shapes: list[tuple[int, ...]] = [(3, 3, 3, 16)]
    width = 16
    for filters in (16, 32, 64):
        for _ in range(5):
            shapes += [(3, 3, width, filters), (3, 3, filters, filters)]
            width = filters
    return [*shapes, (64, 10)]


def operations(chunk: int) -> float:
    """Returns how many multiplications and additions the products take."""
    chunks = sum(math.ceil(math.prod(shape) / chunk) for shape in resnet_shapes())
    return 2.0 * chunks * (EMBEDDING * HIDDEN + HIDDEN * chunk)


def ours(jit: bool = False) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a function that generates with `GeneratedWeight`s."""

    def make(chunk: int) -> Callable[[], Any]:
        import keras

        from keras_hyper import ChunkedGenerator, Hypernetwork

        inputs = keras.Input((32, 32, 3))
        x = inputs
        for *spatial, _, filters in resnet_shapes():
            if spatial:
                x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        target = keras.Model(inputs, keras.layers.Dense(10, use_bias=False)(x))
        generator = ChunkedGenerator(chunk, (HIDDEN,), embedding_dim=EMBEDDING)
        hyper = Hypernetwork(target, generator)
        return compiled(hyper, jit)

    return make


def compiled(hyper: Any, jit: bool) -> Callable[[], Any]:
    """Returns a function that generates all weights, as one program."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        step = tf.function(lambda: list(hyper.generate().values()), jit_compile=jit)
        return lambda: [w.numpy() for w in step()[:1]]
    import jax

    variables = hyper.variables

    def pure(values: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return list(hyper.generate().values())

    program = jax.jit(pure)
    values = [v.value for v in variables]
    return lambda: jax.block_until_ready(program(values))


def hypnettorch(chunk: int) -> Callable[[], Any]:
    """Hypnettorch's chunked hypernetwork."""
    import numpy as np
    import torch

    np.int = int  # Gone from NumPy since this package was written.
    from hypnettorch.hnets import ChunkedHMLP

    torch.set_num_threads(threads())
    shapes = [tuple(reversed(shape)) for shape in resnet_shapes()]
    hyper = ChunkedHMLP(
        shapes,
        chunk,
        chunk_emb_size=EMBEDDING - 8,
        layers=(HIDDEN,),
        cond_in_size=8,  # It does not work without a condition.
        num_cond_embs=1,
        verbose=False,
    )

    def step() -> Any:
        with torch.no_grad():
            return hyper.forward(cond_id=0)

    return step


CANDIDATES = {
    "ours, TensorFlow": Candidate("tensorflow", ours(), operations),
    "ours, TensorFlow XLA": Candidate("tensorflow", ours(jit=True), operations),
    "ours, JAX": Candidate("jax", ours(), operations),
    REFERENCE: Candidate("torch", hypnettorch, operations),
}
