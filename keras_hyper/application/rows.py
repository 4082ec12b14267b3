"""Layers whose inputs have several rows for each sample, such as the windows of an image."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.application.given import Given, current
from keras_hyper.kernels import grouped
from keras_hyper.typing import Tensor, Tensors

# The inputs of layers, by the `id` of the layer, while they are recorded.
_recorded: ContextVar[dict[int, list[Tensor]] | None] = ContextVar("keras_hyper_rows", default=None)


class RowsError(ValueError):
    """Says that the inputs of a layer have more rows than there are weights."""


def for_rows(layer: keras.Layer, given: Given, args: Sequence[Any]) -> Given:
    """Returns what a layer is given for the rows of its inputs, or raises.

    Args:
        layer: The layer.
        given: What it is given, one weight for each sample or one for all.
        args: Its inputs.
    """
    context = current()
    kernels = [kernel for kernel in given.kernels.values() if kernel.batched]
    if not kernels or not args or not hasattr(args[0], "shape"):
        return given
    found, known = args[0].shape[0], {kernel.rows for kernel in kernels} - {None}
    if id(layer) in context.folded and {found} != known:
        return given.replace(grouped(given.kernels, ops.shape(args[0])[0] // context.samples))
    for count in known - {found} if found is not None else ():
        raise RowsError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has weights for each of {count} "
            f"samples, and is called with {found} rows, of shape {tuple(args[0].shape)}. A layer "
            "with weights for each sample needs inputs whose first axis is the batch, or has the "
            "rows of each sample one after the other. An eager call tests that: make one before "
            "`fit` or other compiled calls. If it raises, too, leave the weights out with "
            "`include`, or pass a condition of shape (dim,)."
        )
    return given


def record_rows(layer: keras.Layer, args: Sequence[Any]) -> None:
    """Adds the inputs of a layer to the record, if there is one."""
    record = _recorded.get()
    if record is not None and args and hasattr(args[0], "shape"):
        record.setdefault(id(layer), []).append(args[0])


def folded_layers(run: Callable[[Tensors], Tensors], inputs: Tensors) -> set[int]:
    """Returns the `id` of each layer whose inputs have all rows of a sample after each other.

    The inputs of layers in a batch of two samples are compared with those for each sample alone.

    Args:
        run: Runs a model, whose layers call `record_rows`.
        inputs: What the model takes. Inputs of this shape are drawn at random. If they are only
            traced, the result is empty.
    """
    try:
        arrays = keras.tree.map_structure(
            lambda x: None if x is None else ops.convert_to_numpy(x), inputs
        )
    except Exception:  # Each backend has its own error for a value that is not there yet.
        return set()
    rng = np.random.default_rng(0)
    pairs = [None if x is None else _drawn(rng, x) for x in keras.tree.flatten(arrays)]
    drawn = [
        keras.tree.pack_sequence_as(arrays, [None if pair is None else pair[i] for pair in pairs])
        for i in range(2)
    ]
    both = keras.tree.map_structure(
        lambda *x: None if x[0] is None else np.concatenate(x) if x[0].ndim else x[0], *drawn
    )
    records = []
    for tried in (both, *drawn):
        # Nothing stays of these calls: no state, and no losses.
        with _recording() as record, keras.StatelessScope(collect_losses=True):
            run(tried)
        records.append(record)
    together, *alone = records
    return {
        key for key, rows in together.items() if _in_order(rows, *(a.get(key, []) for a in alone))
    }


@contextlib.contextmanager
def _recording() -> Iterator[dict[int, list[Tensor]]]:
    record: dict[int, list[Tensor]] = {}
    token = _recorded.set(record)
    try:
        yield record
    finally:
        _recorded.reset(token)


def _drawn(rng: np.random.Generator, values: np.ndarray) -> list[np.ndarray]:
    """Returns random numbers for two samples, whole ones among those that are given."""
    if not values.ndim or not values.size:
        return [values] * 2
    shape = (1, *values.shape[1:])
    if values.dtype.kind == "f":
        return [rng.normal(size=shape).astype(values.dtype) for _ in range(2)]
    known = rng.permutation(np.unique(values))
    # Samples of different ids, unless these are the two values of a mask.
    parts = [known] * 2 if len(known) < 3 else np.array_split(known, 2)
    return [rng.choice(part, shape) for part in parts]


def _in_order(together: Sequence[Tensor], *alone: Sequence[Tensor]) -> bool:
    """Whether the rows of two samples are those of the first, and then those of the second."""
    if len({len(together), *map(len, alone)}) > 1:
        return False
    for calls in zip(together, *alone, strict=True):
        try:
            values = [np.asarray(ops.convert_to_numpy(x), "float64") for x in calls]
        except Exception:  # Traced, as in a loop: each backend has its own error.
            return False
        actual, *expected = values
        joined = np.concatenate(expected)
        scale = max(np.abs(joined).max(initial=0), 1e-30)
        if actual.shape != joined.shape or np.abs(actual - joined).max(initial=0) > 1e-2 * scale:
            return False
        # Rows that both samples have would say nothing of the order.
        first, second = ({r.tobytes() for r in np.round(x / scale, 2) + 0.0} for x in expected)
        if first & second:
            return False
    return True
