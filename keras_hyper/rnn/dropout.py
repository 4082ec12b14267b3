"""Recurrent dropout on the candidate, fresh at every step.

Semeniuta, Severyn & Barth, "Recurrent Dropout without Memory Loss", 2016: what is
dropped is the update of the memory, never the memory itself. Keras's argument
`recurrent_dropout` drops numbers of the hidden state, the same at every step.
"""

from collections.abc import Callable
from typing import Any

import keras

Drop = Callable[[Any], Any]


def keep(candidate: Any) -> Any:
    """Drops nothing."""
    return candidate


def drop_in_this_step(cell: Any, rate: float, training: Any) -> Drop:
    """Returns what a bare cell does to its candidate: drop at a rate, while training.

    Raises:
        NotImplementedError: On JAX, whose loops cannot advance a random state.
    """
    if not training or rate == 0:
        return keep
    if keras.backend.backend() == "jax":
        raise NotImplementedError(
            f"{type(cell).__name__} cannot draw a fresh dropout mask at every step on JAX, whose "
            "loops are pure functions, and cannot know whether it is in one. "
            f"Use the layer `keras_hyper.{type(cell).__name__.removesuffix('Cell')}`, which draws "
            "the masks of all steps before the loop, or a dropout rate of 0."
        )
    return lambda candidate: keras.random.dropout(candidate, rate, seed=cell.seed_generator)
