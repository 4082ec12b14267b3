"""(e) A kernel for each sample in factored form, forward and backward, against written out.

Where a product is taken in factored form, and where not, is decided by this.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import gradient_step, normal

WIDTH = 8  # Of the conditions: as many shared kernels are mixed.
RANK = 4
BATCH = 32
# Inputs, and the kernels' shape.
DENSE, CONV, TABLE = (256, 256), (3, 3, 64, 64), (256, 64)
SIZES = {
    "mixture, dense": ("mixture", (256,), DENSE),
    "mixture, dense, 4 positions": ("mixture", (4, 256), DENSE),
    "mixture, dense, 64 positions": ("mixture", (64, 256), DENSE),
    "low rank, dense": ("low rank", (256,), DENSE),
    "low rank, dense, 64 positions": ("low rank", (64, 256), DENSE),
    "mixture, conv": ("mixture", (16, 16, 64), CONV),
    "low rank, conv": ("low rank", (16, 16, 64), CONV),
    "mixture, 4 rows looked up": ("lookup", (4,), TABLE),
    "mixture, 256 rows looked up": ("lookup", (256,), TABLE),
}
REFERENCE = "written out"


def step(factored: bool, jit: bool = False) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a step of one layer."""

    def make(size: Any) -> Callable[[], Any]:
        import keras
        import numpy as np
        from keras import ops

        from keras_hyper import kernels

        family, input_shape, shape = size
        *window, fan_in, fan_out = shape
        rows = fan_in * (9 if window else 1)
        options = {"strides": (1, 1), "padding": "same", "data_format": "channels_last"}

        def apply(kernel: Any, x: Any) -> Any:
            return kernel.conv(x, **options, dilation_rate=(1, 1)) if window else kernel.dense(x)

        def full(kernel: Any) -> Any:
            return kernels.Full(kernel.materialize(), batched=True)

        def mixture(x: Any, condition: Any, bank: Any) -> Any:
            """Every shared kernel meets every sample, and the results are mixed."""
            kernel = kernels.Mixture(bank, condition)
            if not factored:
                return apply(full(kernel), x)
            if len(input_shape) == 1:
                return kernel.dense(x)
            lead = ops.shape(x)[:-1]
            if window:
                every = ops.reshape(ops.moveaxis(bank, 0, -2), (*window, fan_in, WIDTH * fan_out))
                parts = ops.conv(x, every, **options)
            else:
                parts = x @ ops.reshape(ops.moveaxis(bank, 0, 1), (fan_in, WIDTH * fan_out))
            parts = ops.reshape(parts, (*lead, WIDTH, fan_out))
            ones = (1,) * (len(input_shape) - 1)
            return ops.sum(ops.reshape(condition, (BATCH, *ones, WIDTH, 1)) * parts, axis=-2)

        def low_rank(x: Any, condition: Any, bank: Any) -> Any:
            """The first factor makes `RANK` channels, the second one the others."""
            factors = condition @ ops.reshape(bank, (WIDTH, -1))[:, : RANK * (rows + fan_out)]
            left = ops.reshape(factors[:, : RANK * rows], (BATCH, rows, RANK))
            right = ops.reshape(factors[:, RANK * rows :], (BATCH, RANK, fan_out))
            kernel = kernels.LowRank(left, right, shape)
            return apply(kernel if factored else full(kernel), x)

        def lookup(x: Any, condition: Any, bank: Any) -> Any:
            """Rows of every shared table, mixed. The inputs scale them, for a gradient."""
            kernel = kernels.Mixture(bank, condition)
            ids = np.random.default_rng(0).integers(0, shape[0], (BATCH, *input_shape))
            ids = ops.convert_to_tensor(ids.astype("int32"))
            if not factored:
                rows = full(kernel).lookup(ids)
            else:
                parts = ops.take(ops.moveaxis(bank, 0, 1), ids, axis=0)
                rows = ops.sum(ops.reshape(condition, (BATCH, 1, WIDTH, 1)) * parts, axis=-2)
            return rows * ops.expand_dims(x, -1)

        functions = {"mixture": mixture, "low rank": low_rank, "lookup": lookup}

        class Layer(keras.layers.Layer):
            def build(self, x_shape: Any, condition_shape: Any) -> None:
                self.bank = self.add_weight(shape=(WIDTH, *shape), initializer="he_normal")

            def call(self, x: Any, condition: Any) -> Any:
                return functions[family](x, condition, ops.convert_to_tensor(self.bank))

        x = keras.Input(input_shape, batch_size=BATCH)
        condition = keras.Input((WIDTH,), batch_size=BATCH)
        model = keras.Model([x, condition], Layer()(x, condition))
        return gradient_step(model, (normal(BATCH, *input_shape), normal(BATCH, WIDTH)), jit)

    return make


CANDIDATES = {
    REFERENCE: Candidate("tensorflow", step(factored=False)),
    "factored": Candidate("tensorflow", step(factored=True)),
    "written out, XLA": Candidate("tensorflow", step(factored=False, jit=True)),
    "factored, XLA": Candidate("tensorflow", step(factored=True, jit=True)),
    "written out, JAX": Candidate("jax", step(factored=False)),
    "factored, JAX": Candidate("jax", step(factored=True)),
}
