"""(r) Five epochs of training, with and without `HyperTensorBoard`."""

import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import normal

SIZES = {"3 generated convolutions, 1,408 images of 8 x 8": 1408}
REFERENCE = "without it"


def epochs(watch: str | None) -> Callable[[int], Callable[[], Any]]:
    """Returns what makes five epochs, in batches of 64.

    Args:
        watch: What the callback is given: None for no callback, "weights" for nothing,
            "batch" for a batch with its targets.
    """

    def make(count: int) -> Callable[[], Any]:
        import keras
        from keras import layers

        from keras_hyper import HyperConv2D, TiledKernelGenerator
        from keras_hyper.callbacks import HyperTensorBoard

        kernels = TiledKernelGenerator((3, 3, 8, 8), embedding_dim=32)
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(32, 3, padding="same")])
        for filters in (32, 64, 64):
            options = {"padding": "same", "activation": "relu", "generator": kernels}
            model.add(HyperConv2D(filters, 3, **options))
        model.add(layers.GlobalAveragePooling2D())
        model.add(layers.Dense(10))
        model.compile("adam", "mse")
        x, y = normal(count, 8, 8, 1), normal(count, 10)
        batch = {"inputs": x[:64], "targets": y[:64]} if watch == "batch" else {}

        def fit() -> Any:
            callbacks = [HyperTensorBoard(tempfile.mkdtemp(), **batch)] if watch else []
            return model.fit(x, y, batch_size=64, epochs=5, verbose=0, callbacks=callbacks)

        return fit

    return make


CANDIDATES = {
    REFERENCE: Candidate("tensorflow", epochs(None)),
    "weights, pictures, norms": Candidate("tensorflow", epochs("weights")),
    "gradients, too": Candidate("tensorflow", epochs("batch")),
    "without it, JAX": Candidate("jax", epochs(None)),
    "gradients, too, JAX": Candidate("jax", epochs("batch")),
}
