"""(j) Tracing and compiling a training step of recurrent layers, and its first run."""

from collections.abc import Callable
from typing import Any

from benchmarks.recurrent import REFERENCE as REFERENCE
from benchmarks.recurrent import data, keras_model, on_tensorflow
from benchmarks.steps import gradient_step

# As in (g).
SIZES = {"8 x 20, 16 to 64, 32, 4": (8, 20, 16, 64, 32, 4)}


def first_step(jit: bool, **model: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes the first step of a model that is made before."""

    def make(size: Any) -> Callable[[], Any]:
        network, x = keras_model(size, **model), data(size)
        # A new function, which nothing that was compiled before fits.
        return lambda: gradient_step(network, [x], jit, training=True)()

    return make


CANDIDATES = on_tensorflow(first_step)
