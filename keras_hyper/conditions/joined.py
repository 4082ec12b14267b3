"""One condition out of several parts: tensors, task ids, noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.conditions.parts import Part, part_of
from keras_hyper.conditions.task_embedding import TaskEmbedding
from keras_hyper.ops import with_known_rank
from keras_hyper.saving import deserialize_shared, hold, serializable
from keras_hyper.typing import Condition, Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import numeric

# The key of one value that is repeated for every sample.
_REPEATED = "repeated"


@serializable
class JoinedCondition(keras.layers.Layer):
    """Concatenates the parts of a condition.

    `keras_hyper.Hypernetwork` makes one of its argument `condition`. A part is the
    width of a tensor that is used as it is, or a layer that makes a tensor, such as
    `TaskEmbedding`, `NoiseCondition`, `MagnitudeInvariantEncoding` or a whole model.

    Args:
        parts: An integer, a layer, or a list of them.
        per_weight: Whether the condition has a row for each generated weight. A tensor has such
            rows, and a layer may return them; any other part is the same for all weights.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        values: What the parts are given: one value, or a list of one for each
            part but noise.
        inputs: The inputs of the target, whose batch size is that of noise. With None,
            noise is drawn once for each row of the other parts, or once.

    Output shape:
        `(dim,)`, if no part has a row for each sample, otherwise `(batch, dim)`.
        `(weights, dim)` or `(batch, weights, dim)` with `per_weight`.

    Raises:
        TypeError: If a part is neither an integer nor a layer.
        ValueError: If the values do not fit the parts.

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
        # The parts cast what they take; task ids must not be cast.
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
                "`condition` takes one AdapterMask, beside the parts that weights depend on. "
                f"Received: condition={parts!r}"
            )
        self.parts: list[int | keras.Layer] = []
        hold(self, "parts", [part.source for part in self._made])

    @property
    def takes_values(self) -> bool:
        """Whether anything must be passed: not if all parts are noise."""
        return bool(self._takers)

    @property
    def task_embedding(self) -> TaskEmbedding | None:
        """The first part that is a `TaskEmbedding`."""
        return next((part.tasks for part in self._made if part.tasks is not None), None)

    def task_ids(self, values: Condition) -> Tensor:
        """Returns what was passed to the first `TaskEmbedding`, `()` or `(batch,)`.

        Args:
            values: As in a call.
        """
        for part, value in self._pairs(values):
            if part.tasks is not None:
                ids = ops.convert_to_tensor(value)
                return ops.squeeze(ids, axis=-1) if len(ids.shape) == 2 else ids
        raise ValueError(f"'{self.name}' has no TaskEmbedding.")

    def adapted(self, values: Condition) -> Tensor | None:
        """Returns which samples have an adapter, None if there is no `AdapterMask`.

        Args:
            values: As in a call.

        Returns:
            1 or 0, for all samples or in a tensor of shape `(batch,)`.
        """
        pairs = self._pairs(values) if self._masks else []
        return next((part.make(value)[0] for part, value in pairs if part.is_mask), None)

    @property
    def has_mask(self) -> bool:
        """Whether there is an `AdapterMask`."""
        return bool(self._masks)

    def width(self) -> int | None:
        """Returns the width of the condition, None if it is not known yet."""
        widths = [part.width for part in self._made]
        return None if None in widths else sum(w for w in widths if w is not None)

    def default_shape(self) -> Shape | list[Shape] | None:
        """Returns the shapes of values for which the width is known without a call."""
        return _one_or_list([tuple(spec.shape) for spec in self.value_specs()]) or None

    def expect_weights(self, count: int) -> None:
        """Sets the number of generated weights, each of which gets a row of the condition."""
        for part in self._made:
            part.weights = count

    def build(
        self, values_shape: Shape | Sequence[Shape] | None = None, inputs_shape: Tensors = None
    ) -> None:
        """Builds the parts."""
        if values_shape is None:
            values_shape = _one_or_list([None for _ in self._takers])
        for i, (part, shape) in enumerate(self._pairs(values_shape)):
            part.build(shape, f"parts_{i}")

    def tensors(self, values: Condition, inputs: Tensors = None) -> Condition:
        """Returns the values as tensors of known rank.

        Args:
            values: As in a call. They may be plain integers and lists of ids, too.
            inputs: Optional inputs of the target, see `with_known_rank`.
        """
        rows = [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ()))]
        like = rows[0] if rows else None
        given = []
        for part, value in self._pairs(values):
            if value is not None:
                given.append(with_known_rank(numeric("condition", value), part.row, like))
        return _one_or_list(given)

    def rows(self, values: Condition) -> int | None:
        """Returns for how many samples there are values, None for one or an unknown number."""
        rows = {
            value.shape[0]
            for part, value in self._pairs(values)
            if value is not None and not part.is_one(value)
        }
        if len(rows - {None}) > 1:
            raise ValueError(
                "The parts of `condition` must be for equally many samples. Received: parts for "
                f"{sorted(rows - {None})} samples"
            )
        return rows.pop() if len(rows) == 1 else None

    def value_names(self) -> list[str]:
        """Returns the names of the values where inputs and condition are in one dict."""
        count = len(self._takers)
        return ["condition"] if count == 1 else [f"condition_{i}" for i in range(count)]

    def value_specs(self) -> list[keras.KerasTensor]:
        """Returns shape and dtype of the values of a call with a row for each sample."""
        return [part.spec for part in self._takers]

    def check(self, values: Condition) -> None:
        """Raises if the values have the wrong shape or type.

        Args:
            values: As `tensors` returns them.
        """
        for part, value in self._pairs(values):
            part.check(value)

    def with_rows(self, values: Condition, count: int) -> Condition:
        """Returns values of which Keras can take batches.

        Args:
            values: As `tensors` returns them. One for all samples is repeated, in a dict that
                tells it from values with a row for each sample (see `without_rows`).
            count: Integer, number of samples.
        """
        given = []
        for part, value in self._pairs(values):
            if value is not None and part.is_one(value):
                value = {_REPEATED: np.repeat(ops.convert_to_numpy(value)[None], count, axis=0)}
            given += [] if value is None else [value]
        return _one_or_list(given)

    def describe(self) -> str:
        """Returns what is to be passed, in words."""
        takers = [part.describe() for part in self._takers]
        return takers[0] if len(takers) == 1 else f"a list of {', '.join(takers)}"

    def __call__(self, values: Condition = None, **kwargs: Tensors) -> Tensor:
        """Joins the parts."""
        values = None if values is None else self.tensors(values)
        return super().__call__(values, **kwargs)

    def call(
        self, values: Condition = None, inputs: Tensors = None, training: bool | None = None
    ) -> Tensor:
        """Returns the parts, side by side."""
        every = self._pairs(values)
        pairs = [(part, value) for part, value in every if not part.is_mask]
        masks = [value for part, value in every if part.is_mask and not part.is_one(value)]
        made = {part: part.make(value) for part, value in pairs if part.takes_value}
        batched = [row for row, is_batched in made.values() if is_batched]
        known = [*batched, *masks] if inputs is None else keras.tree.flatten(inputs)
        like = next(iter(known), None)
        made |= {part: part.make(like) for part, _ in pairs if not part.takes_value}
        rows = [ops.cast(made[part][0], self.compute_dtype) for part, _ in pairs]
        batched = [row for row, is_batched in made.values() if is_batched]
        if batched:
            lead = ops.shape(batched[0])[:-1]
            rows = [
                row if len(row.shape) > len(lead) else ops.broadcast_to(row, (*lead, row.shape[-1]))
                for row in rows
            ]
        joined = rows[0] if len(rows) == 1 else ops.concatenate(rows, axis=-1)
        if masks and not batched:
            # Weights for each sample, since not all of them have an adapter.
            joined = ops.broadcast_to(joined, (ops.shape(masks[0])[0], *joined.shape))
        return joined

    def _pairs(self, values: Condition) -> list[tuple[Part, Tensor]]:
        """Returns each part with its value, or its shape. Noise has None."""
        takers = self._takers
        if len(takers) == 1:
            values = [values]
        elif not takers and values is None:
            values = []
        if not isinstance(values, list | tuple) or len(values) != len(takers):
            expected = (
                f"`condition` must be a list of {len(takers)} values, one for each part but noise: "
                f"{[part.describe() for part in takers]}."
            )
            if not takers:
                expected = "`condition` is noise alone here, and takes no value."
            raise ValueError(f"{expected} Received: condition={values!r}")
        given = iter(values)
        return [(part, next(given) if part.takes_value else None) for part in self._made]

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        parts = [part.serialize(self, f"parts_{i}") for i, part in enumerate(self._made)]
        return {**super().get_config(), "parts": parts, "per_weight": self.per_weight}


def without_rows(values: Condition) -> Condition:
    """Returns values of a batch as they were before `JoinedCondition.with_rows`."""
    if isinstance(values, list | tuple):
        return [without_rows(value) for value in values]
    return values[_REPEATED][0] if isinstance(values, Mapping) and _REPEATED in values else values


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else values
