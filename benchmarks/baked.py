"""(b) Inference of the baked WRN-40-2 against the plain one."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.static_stack import wide_resnet
from benchmarks.steps import normal

SIZES = {"plain": False, "xla": True}
REFERENCE = "plain kernels"


def inference(generated: bool) -> Callable[[bool], Callable[[], Any]]:
    """Returns what makes a step with a batch of 32."""

    def make(jit: bool) -> Callable[[], Any]:
        import keras_hyper

        model = wide_resnet(generated)
        if generated:
            model = keras_hyper.bake(model)
        model.compile(jit_compile=jit)
        x = normal(32, 32, 32, 3)
        return lambda: model.predict_on_batch(x)

    return make


CANDIDATES = {
    "baked": Candidate("tensorflow", inference(generated=True)),
    REFERENCE: Candidate("tensorflow", inference(generated=False)),
}
