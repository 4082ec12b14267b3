"""(l) A perceptron as a target, with per-sample weights, relative to one of hyper layers.

The perceptrons of benchmark (c), all weights and biases linear in a condition of width 8:
a `Hypernetwork` over a plain Keras model, and the same of `HyperDense` layers.
"""

from typing import Any

from benchmarks import dense, target
from benchmarks.compare import Candidate
from benchmarks.dense import SIZES

__all__ = ["CANDIDATES", "SIZES"]
REFERENCES = {
    f"Hypernetwork, {where}": (f"HyperDense, {where}",)
    for where in ("TensorFlow", "TensorFlow XLA", "JAX")
}
CANDIDATES = {
    f"{name}, {where}": Candidate(backend, ours(jit))
    for where, backend, jit in (
        ("TensorFlow", "tensorflow", False),
        ("TensorFlow XLA", "tensorflow", True),
        ("JAX", "jax", False),
    )
    for name, ours in (("Hypernetwork", target.ours), ("HyperDense", dense.ours))
}


def references(size: Any) -> dict[str, tuple[str, ...]]:
    """Returns what each candidate is compared with: that of the same backend."""
    return REFERENCES
