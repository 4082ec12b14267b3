"""(p) A served WRN-40-2 with generated kernels: folded, or generated at every call."""

import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.static_stack import wide_resnet
from benchmarks.steps import normal

SIZES = {
    "batch 1": (1, "serving_default"),
    "batch 32": (32, "serving_default"),
    "batch 32, XLA": (32, "serve_xla"),
}
REFERENCE = "plain kernels"


def loaded(model: Any, **options: Any) -> Any:
    """Returns the endpoints of a model, read back from its export."""
    import tensorflow as tf

    from keras_hyper import export_saved_model

    with tempfile.TemporaryDirectory() as folder:
        export_saved_model(model, pathlib.Path(folder) / "model", **options)
        served = tf.saved_model.load(pathlib.Path(folder) / "model")
    # Signatures do not keep the variables that they read.
    return served, served.signatures


def served(generated: bool, fold: bool = True) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a call of a served network."""

    def make(size: tuple[int, str]) -> Callable[[], Any]:
        import tensorflow as tf

        keep, endpoints = loaded(wide_resnet(generated), fold=fold)
        x, endpoint = tf.constant(normal(size[0], 32, 32, 3)), endpoints[size[1]]
        return lambda: (keep, [y.numpy() for y in endpoint(inputs=x).values()])

    return make


CANDIDATES = {
    "folded": Candidate("tensorflow", served(generated=True)),
    "generated at every call": Candidate("tensorflow", served(generated=True, fold=False)),
    REFERENCE: Candidate("tensorflow", served(generated=False)),
}
