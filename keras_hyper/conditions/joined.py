"""Conditions of several parts: tensors, task ids, masks, noise and layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.conditions.parts import Part, part_of
from keras_hyper.conditions.task_embedding import TaskEmbedding
from keras_hyper.ops import squeeze_column, with_known_rank
from keras_hyper.saving import deserialize_shared, hold, serializable, serialize_shared
from keras_hyper.typing import Condition, Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import numeric

# The key of one value that is repeated for every sample.
_REPEATED = "repeated"


@serializable
class JoinedCondition(keras.layers.Layer):
    """Concatenates the parts of a condition.

    `keras_hyper.Hypernetwork` makes it from its argument `condition`. A part is the width of a
    tensor, or a layer or model that makes a tensor, such as `TaskEmbedding`.

    Args:
        parts: An integer, a layer, or a list of them.
        per_weight: Whether the condition has one row per generated weight. Tensors must have these
            rows, and layers may return them. Other parts are repeated for all weights.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        values: One value, or a list with one value for each part except noise.
        inputs: Inputs of the target, which determine the batch size of noise. If None, it follows
            from the other parts.

    Output shape:
        `(batch, dim)`, or `(dim,)` if no part has a batch axis. With `per_weight`,
        `(batch, weights, dim)` or `(weights, dim)`.

    Raises:
        TypeError: If a part is neither an integer nor a layer.
        ValueError: If the values do not match the parts.

    Examples:
        >>> import keras
        >>> from keras_hyper import TaskEmbedding
        >>> from keras_hyper.conditions import JoinedCondition
        >>> condition = JoinedCondition([TaskEmbedding(3, 8), 2])
        >>> tuple(condition([1, keras.ops.ones((5, 2))]).shape)
        (5, 10)
    """

    def __init__(
        self,
        parts: int | keras.Layer | Sequence[int | keras.Layer],
        per_weight: bool = False,
        **kwargs: Any,
    ) -> None:
        # The parts cast their values. Task ids must not be cast.
        super().__init__(autocast=False, **kwargs)
        listed = list(parts) if isinstance(parts, list | tuple) else [parts]
        if not listed:
            raise ValueError("`condition` must have at least one part. Received: condition=[]")
        sources = [deserialize_shared(part, self, f"parts_{i}") for i, part in enumerate(listed)]
        self.per_weight = bool(per_weight)
        self._made = tuple(part_of(source, self.per_weight) for source in sources)
        self._takers = tuple(part for part in self._made if part.takes_value)
        self._masks = tuple(part for part in self._made if part.is_mask)
        if len(self._masks) > 1 or len(self._masks) == len(self._made):
            raise ValueError(
                "`condition` may have one AdapterMask, beside the parts that weights depend on. "
                f"Received: condition={parts!r}"
            )
        self.parts: list[int | keras.Layer] = []
        hold(self, "parts", [part.source for part in self._made])

    @property
    def takes_values(self) -> bool:
        """Whether a call needs values. False if all parts are noise."""
        return bool(self._takers)

    @property
    def task_embedding(self) -> TaskEmbedding | None:
        """The first part that is a `TaskEmbedding`."""
        return next((part for part in self.parts if isinstance(part, TaskEmbedding)), None)

    def task_ids(self, values: Condition) -> Tensor:
        """Returns the ids for the first `TaskEmbedding`, of shape `()` or `(batch,)`."""
        for part, value in self._pairs(values):
            if isinstance(part.source, TaskEmbedding):
                return squeeze_column(ops.convert_to_tensor(value))
        raise ValueError(f"'{self.name}' has no TaskEmbedding.")

    def adapted(self, values: Condition) -> Tensor | None:
        """Returns 1 for samples with an adapter and 0 for others. None without `AdapterMask`."""
        pairs = self._pairs(values) if self._masks else []
        return next((part.source(value) for part, value in pairs if part.is_mask), None)

    @property
    def has_mask(self) -> bool:
        """Whether there is an `AdapterMask`."""
        return bool(self._masks)

    def width(self) -> int | None:
        """Returns the width of the condition, None if unknown."""
        widths = [part.width for part in self._made]
        return None if None in widths else sum(w for w in widths if w is not None)

    def default_shape(self) -> Shape | list[Shape] | None:
        """Returns the shapes of per-sample values, None if there are no values."""
        return _one_or_list([tuple(spec.shape) for spec in self.value_specs()]) or None

    def expect_weights(self, count: int) -> None:
        """Sets the number of generated weights, for `per_weight`."""
        for part in self._made:
            part.weights = count

    def build(
        self, values_shape: Shape | Sequence[Shape] | None = None, inputs_shape: Tensors = None
    ) -> None:
        """Builds the parts."""
        if values_shape is None:
            values_shape = _one_or_list([None for _ in self._takers])
        shapes = dict(self._pairs(values_shape))
        for i, part in enumerate(self._made):
            part.build(shapes.get(part), f"parts_{i}")

    def tensors(self, values: Condition, inputs: Tensors = None) -> Condition:
        """Returns values, which may be plain integers and lists, as tensors of known rank.

        `inputs` are optional inputs of the target, see `with_known_rank`.
        """
        rows = [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ()))]
        like = rows[0] if rows else None
        pairs = [(part, numeric("condition", value)) for part, value in self._pairs(values)]
        return _one_or_list([with_known_rank(value, part.row, like) for part, value in pairs])

    def rows(self, values: Condition) -> int | None:
        """Returns the batch size of the values, None if unknown or without a batch axis."""
        rows = {value.shape[0] for part, value in self._pairs(values) if not part.is_one(value)}
        if len(rows - {None}) > 1:
            raise ValueError(
                "All values of `condition` must have the same batch size. Received: batch sizes "
                f"{sorted(rows - {None})}"
            )
        return rows.pop() if len(rows) == 1 else None

    def value_names(self) -> list[str]:
        """Returns the keys of the values in a dict of inputs and condition."""
        count = len(self._takers)
        return ["condition"] if count == 1 else [f"condition_{i}" for i in range(count)]

    def value_specs(self) -> list[keras.KerasTensor]:
        """Returns the shapes and dtypes of per-sample values."""
        return [part.spec for part in self._takers]

    def check(self, values: Condition) -> None:
        """Raises if the values, from `tensors`, have an invalid shape or dtype."""
        for part, value in self._pairs(values):
            part.check(value)

    def with_rows(self, values: Condition, count: int) -> Condition:
        """Returns values, from `tensors`, that Keras can divide into batches.

        Values without a batch axis are repeated `count` times, in a dict for `without_rows`.
        """
        repeated = []
        for part, value in self._pairs(values):
            if part.is_one(value):
                value = {_REPEATED: np.repeat(ops.convert_to_numpy(value)[None], count, axis=0)}
            repeated.append(value)
        return _one_or_list(repeated)

    def describe(self) -> str:
        """Returns a description of the values, for error messages."""
        takers = [part.describe() for part in self._takers]
        return takers[0] if len(takers) == 1 else f"a list of {', '.join(takers)}"

    def __call__(self, values: Condition = None, **kwargs: Tensors) -> Tensor:
        """Concatenates the parts, for values that may be plain integers and lists."""
        values = None if values is None else self.tensors(values)
        return super().__call__(values, **kwargs)

    def call(
        self, values: Condition = None, inputs: Tensors = None, training: bool | None = None
    ) -> Tensor:
        """Concatenates the parts."""
        pairs = self._pairs(values)
        masks = [value for part, value in pairs if part.is_mask and not part.is_one(value)]
        made = {part: part.make(value) for part, value in pairs if not part.is_mask}
        known = [*(row for row, is_batched in made.values() if is_batched), *masks]
        like = next(iter(known if inputs is None else keras.tree.flatten(inputs)), None)
        made |= {part: part.make(like) for part in self._made if not part.takes_value}
        rows = [ops.cast(made[part][0], self.compute_dtype) for part in self._made if part in made]
        batched = [row for row, is_batched in made.values() if is_batched]
        if batched:
            lead = ops.shape(batched[0])[:-1]
            rows = [
                row if len(row.shape) > len(lead) else ops.broadcast_to(row, (*lead, row.shape[-1]))
                for row in rows
            ]
        joined = rows[0] if len(rows) == 1 else ops.concatenate(rows, axis=-1)
        if masks and not batched:
            # Per-sample weights, since some samples have no adapter.
            joined = ops.broadcast_to(joined, (ops.shape(masks[0])[0], *joined.shape))
        return joined

    def _pairs(self, values: Condition) -> list[tuple[Part, Tensor]]:
        """Returns the parts except noise with their values, or with their shapes."""
        takers = self._takers
        if len(takers) == 1:
            values = [values]
        elif not takers and values is None:
            values = []
        if not isinstance(values, list | tuple) or len(values) != len(takers):
            expected = (
                f"`condition` must be a list of {len(takers)} values, one for each part except "
                f"noise: {[part.describe() for part in takers]}."
            )
            if not takers:
                expected = "`condition` must be None if all its parts are noise."
            raise ValueError(f"{expected} Received: condition={values!r}")
        return list(zip(takers, values, strict=True))

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        parts = [
            part if isinstance(part, int) else serialize_shared(part, self, f"parts_{i}")
            for i, part in enumerate(self.parts)
        ]
        return {**super().get_config(), "parts": parts, "per_weight": self.per_weight}


def without_rows(values: Condition) -> Condition:
    """Returns a batch of the values from `JoinedCondition.with_rows` without repetitions."""
    if isinstance(values, list | tuple):
        return [without_rows(value) for value in values]
    return values[_REPEATED][0] if isinstance(values, Mapping) and _REPEATED in values else values


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else values
