"""(o) A training step of MobileNetV2 for 32 x 32 images, all its kernels generated."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import normal

SIZES = {"plain": False, "xla": True}
REFERENCE = "plain kernels"
BATCH = 8


def default() -> Any:
    """The generator that is taken where none is given: up to 64 hidden units."""
    return None


def narrow() -> Any:
    """A generator of 64 hidden units, with narrower embeddings than the default."""
    from keras_hyper import ChunkedGenerator

    return ChunkedGenerator(1024, (64,), embedding_dim=16)


def step_of(generator: Callable[[], Any] | None) -> Callable[[bool], Callable[[], Any]]:
    """Returns what makes a training step."""

    def make(jit: bool) -> Callable[[], Any]:
        import keras
        import numpy as np

        from keras_hyper import Hypernetwork

        model = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=10)
        if generator is not None:
            model = Hypernetwork(model, generator(), include="*kernel")
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit)
        x, y = normal(BATCH, 32, 32, 3), np.arange(BATCH) % 10
        return lambda: model.train_on_batch(x, y)

    return make


CANDIDATES = {
    "generated, 64 hidden units": Candidate("tensorflow", step_of(narrow)),
    "generated, the default": Candidate("tensorflow", step_of(default)),
    REFERENCE: Candidate("tensorflow", step_of(None)),
}
