"""What a hyper cell generates at every step, and what is stored for that."""

import dataclasses
import math
from typing import Any

import keras

from keras_hyper.rnn.hyper_cell import HyperCell


@dataclasses.dataclass(frozen=True)
class StepWeight:
    """One weight of a recurrent cell that differs at every step.

    Attributes:
        name: Name of the weight.
        shape: Its shape at one step of one sequence.
        base: How many stored numbers the hyper cell changes.
        stored: How many other numbers are stored for this weight alone.
        change: What the hyper cell generates for it at every step.
    """

    name: str
    shape: tuple[int, ...]
    base: int
    stored: int
    change: str


def step_weights(cell: HyperCell) -> list[StepWeight]:
    """Returns the weights that a built cell generates at every step."""
    columns = cell.gates * cell.units
    # Half of the embeddings and scales belongs to each of the two matrices.
    halves = _count(cell.embedding_kernel, cell.embedding_bias, cell.scale_kernel) // 2
    found = []
    for name in ("kernel", "recurrent_kernel"):
        matrix = getattr(cell, name)
        change, base, stored = f"a scale for each of the {columns} columns", _count(matrix), halves
        if not cell.scaled:
            change = f"{cell.copies} factors, for the sum of {cell.copies} stored matrices"
            base, stored = 0, halves + base
        found.append(StepWeight(name, (matrix.shape[0], columns), base, stored, change))
    if cell.use_bias:
        stored = _count(cell.bias_embedding_kernel, cell.bias_scale_kernel)
        change = f"{columns} numbers, which are added"
        found.append(StepWeight("bias", (columns,), _count(cell.bias), stored, change))
    return found


def hyper_variables(cell: HyperCell) -> list[keras.Variable]:
    """Returns the variables of the small recurrent cell inside a built cell."""
    norms = (getattr(cell, f"hyper_{name}_norm", None) for name in ("gate", "carry"))
    inside = [v for norm in norms if norm is not None for v in norm.weights]
    return [*(v for v in cell.weights if v.name.startswith("hyper_")), *inside]


def _count(*variables: Any) -> int:
    return sum(math.prod(v.shape) for v in variables if v is not None)
