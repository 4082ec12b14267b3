"""(t) Construction and first training step of convolutional networks, all kernels generated.

Tracing and compilation included; the networks of (s) at batch 8.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.applications import GENERATED, NETWORKS, PLAIN, images, network
from benchmarks.compare import Candidate

SIZES = {name: name for name in NETWORKS}
REFERENCE = PLAIN
BATCH = 8


def start(generated: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a network and trains it for a step."""

    def make(name: str) -> Callable[[], Any]:
        import keras

        x, y = images(BATCH)

        def step() -> Any:
            keras.backend.clear_session()
            return network(name, generated).train_on_batch(x, y)

        return step

    return make


CANDIDATES = {
    GENERATED: Candidate("tensorflow", start(generated=True)),
    PLAIN: Candidate("tensorflow", start(generated=False)),
}
