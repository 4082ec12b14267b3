"""Layers whose inputs have several rows per sample, such as the windows of an image."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.application.given import current
from keras_hyper.kernels import Kernel, grouped
from keras_hyper.typing import Tensor, Tensors

# The inputs of layers, by the `id` of the layer, while they are recorded.
_recorded: ContextVar[dict[int, list[Tensor]] | None] = ContextVar("keras_hyper_rows", default=None)


class RowsError(ValueError):
    """Raised if the inputs of a layer have more rows than there are per-sample weights."""


def for_rows(
    layer: keras.Layer, kernels: Mapping[str, Kernel], args: Sequence[Any]
) -> Mapping[str, Kernel]:
    """Returns the kernels of a layer for the rows of its inputs, `args[0]`.

    Raises `RowsError` if the number of rows does not match the number of samples.
    """
    context = current()
    batched = [kernel for kernel in kernels.values() if kernel.batched]
    if not batched or not args or not hasattr(args[0], "shape"):
        return kernels
    found, known = args[0].shape[0], {k.rows for k in batched if k.rows is not None}
    if id(layer) in context.folded and {found} != known:
        return grouped(kernels, ops.shape(args[0])[0] // context.samples)
    if found is not None and known - {found}:
        raise RowsError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has weights for each of "
            f"{min(known - {found})} samples, and is called with {found} rows, of shape "
            f"{tuple(args[0].shape)}. It needs inputs whose first axis is the batch, or has all "
            "rows of a sample in sequence. An eager call detects the latter, so make one before "
            "`fit` or other compiled calls. If it raises too, exclude the weights with `include`, "
            "or pass a condition of shape (dim,)."
        )
    return kernels


def record_rows(layer: keras.Layer, args: Sequence[Any]) -> None:
    """Adds the inputs of a layer to the record, if there is one."""
    record = _recorded.get()
    if record is not None and args and hasattr(args[0], "shape"):
        record.setdefault(id(layer), []).append(args[0])


def folded_layers(run: Callable[[Tensors], Tensors], inputs: Tensors) -> set[int]:
    """Returns the `id` of each layer whose inputs have the rows of each sample in sequence.

    Runs a model, whose layers call `record_rows`, on a batch of two samples and on each sample
    alone. The samples are random, in the shapes of `inputs`. For traced inputs the result is empty.
    """
    flat = keras.tree.flatten(inputs)
    try:
        arrays = [None if x is None else ops.convert_to_numpy(x) for x in flat]
    except Exception:  # Each backend has a different error for traced values.
        return set()
    rng = np.random.default_rng(0)
    pairs = [_drawn(rng, x) for x in arrays]
    both = [np.concatenate(pair) if np.ndim(pair[0]) else pair[0] for pair in pairs]
    together, first, second = (
        _run_recorded(run, keras.tree.pack_sequence_as(inputs, values))
        for values in (both, *([pair[i] for pair in pairs] for i in range(2)))
    )
    return {
        key
        for key, rows in together.items()
        if _in_order(rows, first.get(key, []), second.get(key, []))
    }


def _run_recorded(run: Callable[[Tensors], Tensors], inputs: Tensors) -> dict[int, list[Tensor]]:
    record: dict[int, list[Tensor]] = {}
    token = _recorded.set(record)
    try:
        # The scope discards changes of state, and losses.
        with keras.StatelessScope(collect_losses=True):
            run(inputs)
    finally:
        _recorded.reset(token)
    return record


def _drawn(rng: np.random.Generator, values: Any) -> Sequence[Any]:
    """Returns random values for two samples. Integers are drawn from those in `values`."""
    if values is None or not values.ndim or not values.size:
        return [values] * 2
    shape = (1, *values.shape[1:])
    if values.dtype.kind == "f":
        return [rng.normal(size=shape).astype(values.dtype) for _ in range(2)]
    known = rng.permutation(np.unique(values))
    # Both samples get different ids, unless the two values may be those of a mask.
    parts = [known] * 2 if len(known) < 3 else np.array_split(known, 2)
    return [rng.choice(part, shape) for part in parts]


def _in_order(together: Sequence[Tensor], *alone: Sequence[Tensor]) -> bool:
    """Returns whether the rows of a batch are those of its first sample, then of its second."""
    if len({len(together), *map(len, alone)}) > 1:
        return False
    for calls in zip(together, *alone, strict=True):
        try:
            values = [np.asarray(ops.convert_to_numpy(x), "float64") for x in calls]
        except Exception:  # Traced, for example in a loop.
            return False
        actual, *expected = values
        joined = np.concatenate(expected)
        scale = max(np.abs(joined).max(initial=0), 1e-30)
        if actual.shape != joined.shape or np.abs(actual - joined).max(initial=0) > 1e-2 * scale:
            return False
        # Rows that both samples share would leave the order ambiguous.
        first, second = ({r.tobytes() for r in np.round(x / scale, 2) + 0.0} for x in expected)
        if first & second:
            return False
    return True
