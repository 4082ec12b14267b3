"""One condition out of several parts: tensors, task ids, noise."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.checks import floating, numeric, positive_int
from keras_hyper.conditions.noise import NoiseCondition
from keras_hyper.conditions.task_embedding import TaskEmbedding
from keras_hyper.ops import with_known_rank
from keras_hyper.saving import deserialize_shared, hold, serializable, serialize_shared

# The key of one value that is repeated for every sample.
_REPEATED = "repeated"


@serializable
class JoinedCondition(keras.layers.Layer):
    """Concatenates the parts of a condition.

    What `condition=` of `keras_hyper.Hypernetwork` is made into. A part is the
    width of a tensor that is used as it is, or a layer that makes a tensor:
    `TaskEmbedding`, `NoiseCondition`, `MagnitudeInvariantEncoding`, a `Dense`
    layer or a whole model.

    Args:
        parts: An integer, a layer, or a list of them.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        values: What the parts are given: one value, or a list of one for each
            part but noise.
        inputs: The inputs of the target, of which noise takes the batch size.
            None: noise is drawn once for each row of the other parts, or once.

    Output shape:
        `(dim,)`, if no part has a row for each sample, otherwise `(batch, dim)`.

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

    def __init__(self, parts: Any, **kwargs: Any) -> None:
        # The parts cast what they take; task ids must not be cast.
        super().__init__(autocast=False, **kwargs)
        listed = list(parts) if isinstance(parts, list | tuple) else [parts]
        if not listed:
            raise ValueError("`condition` must have at least one part. Received: condition=[]")
        self.parts: list[Any] = []
        hold(
            self,
            "parts",
            [_part(deserialize_shared(part, self, f"parts_{i}")) for i, part in enumerate(listed)],
        )
        # Shapes of values with a row for each sample, of the parts that are built.
        self._shapes: list[Any] = [None] * len(listed)

    @property
    def takes_values(self) -> bool:
        """Whether anything must be passed: not if all parts are noise."""
        return any(not isinstance(part, NoiseCondition) for part in self.parts)

    @property
    def task_embedding(self) -> TaskEmbedding | None:
        """The first part that is a `TaskEmbedding`."""
        return next((part for part in self.parts if isinstance(part, TaskEmbedding)), None)

    def task_ids(self, values: Any) -> Any:
        """Returns what was passed to the first `TaskEmbedding`, `()` or `(batch,)`.

        Args:
            values: As in a call.
        """
        for part, value in self._pairs(values):
            if isinstance(part, TaskEmbedding):
                ids = ops.convert_to_tensor(value)
                return ops.squeeze(ids, axis=-1) if len(ids.shape) == 2 else ids
        raise ValueError(f"'{self.name}' has no TaskEmbedding.")

    def width(self, values_shape: Any = None) -> int | None:
        """Returns the width of the condition, None if it is not known yet.

        Args:
            values_shape: Shapes of the values of a call, if there is one.
        """
        widths = [_width(part, shape) for part, shape in self._pairs(values_shape, shapes=True)]
        return None if None in widths else sum(w for w in widths if w is not None)

    def default_shape(self) -> Any:
        """Returns the shapes of values for which the width is known without a call."""
        shapes = [
            (None, part) if isinstance(part, int) else (None,)
            for part in self.parts
            if not isinstance(part, NoiseCondition)
        ]
        return shapes[0] if len(shapes) == 1 else shapes or None

    def build(self, values_shape: Any = None, inputs_shape: Any = None) -> None:
        """Builds the parts."""
        for i, (part, shape) in enumerate(self._pairs(values_shape, shapes=True)):
            if isinstance(part, keras.layers.Layer):
                self._shapes[i] = shape = _with_rows(part, shape)
                if not part.built:
                    part.build(shape)

    def tensors(self, values: Any, inputs: Any = None) -> Any:
        """Returns the values as tensors of known rank.

        Args:
            values: As in a call. They may be plain integers and lists of ids, too.
            inputs: Optional inputs of the target, see `with_known_rank`.
        """
        rows = [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ()))]
        given = []
        for i, (_, value) in enumerate(self._pairs(values)):
            if value is not None:
                value = numeric("condition", value)
                row = self._row(i)
                if row is not None:
                    value = with_known_rank(value, row, rows[0] if rows else None)
                given.append(value)
        return given[0] if len(given) == 1 else given

    def rows(self, values: Any) -> int | None:
        """Returns for how many samples there are values, None for one or an unknown number."""
        rows = {
            value.shape[0]
            for i, (_, value) in enumerate(self._pairs(values))
            if value is not None and not self._is_one(i, value)
        }
        if len(rows - {None}) > 1:
            raise ValueError(
                "The parts of `condition` must be for equally many samples. Received: parts for "
                f"{sorted(rows - {None})} samples"
            )
        return rows.pop() if len(rows) == 1 else None

    def _row(self, i: int) -> tuple[int | None, ...] | None:
        """Returns the shape of the value of a part for one sample, None if it is not known."""
        part = self.parts[i]
        if isinstance(part, TaskEmbedding):
            return ()
        if isinstance(part, int):
            return (part,)
        shape = _with_rows(part, self._shapes[i])
        return None if shape is None else shape[1:]

    def _is_one(self, i: int, value: Any) -> bool:
        """Whether a part is given one value, rather than a row for each sample."""
        row = self._row(i)
        return len(value.shape) <= (1 if row is None else len(row))

    def value_names(self) -> list[str]:
        """Returns the names of the values where inputs and condition are in one dict."""
        takers = sum(not isinstance(part, NoiseCondition) for part in self.parts)
        return ["condition"] if takers == 1 else [f"condition_{i}" for i in range(takers)]

    def value_specs(self) -> list[keras.KerasTensor]:
        """Returns shape and dtype of the values of a call with a row for each sample."""
        specs = []
        for i, part in enumerate(self.parts):
            if isinstance(part, int):
                specs.append(keras.KerasTensor((None, part), dtype=keras.config.floatx()))
            elif isinstance(part, TaskEmbedding):
                specs.append(keras.KerasTensor((None,), dtype="int32"))
            elif not isinstance(part, NoiseCondition):
                shape = (None, *(_with_rows(part, self._shapes[i]) or (None,))[1:])
                dtype = part.inputs[0].dtype if hasattr(part, "inputs") else keras.config.floatx()
                specs.append(keras.KerasTensor(shape, dtype=dtype))
        return specs

    def check(self, values: Any) -> None:
        """Raises if the values have the wrong shape or type.

        Args:
            values: As `tensors` returns them.
        """
        for part, value in self._pairs(values):
            if isinstance(part, int):
                _checked(part, value)
            elif isinstance(part, TaskEmbedding):
                part.check(value)

    def with_rows(self, values: Any, count: int) -> Any:
        """Returns values of which Keras can take batches.

        Args:
            values: As `tensors` returns them. One for all samples is repeated, in a dict that
                tells it from values with a row for each sample (see `without_rows`).
            count: Integer, number of samples.
        """
        given = []
        for i, (_, value) in enumerate(self._pairs(values)):
            if value is not None and self._is_one(i, value):
                value = {_REPEATED: np.repeat(ops.convert_to_numpy(value)[None], count, axis=0)}
            given += [] if value is None else [value]
        return given[0] if len(given) == 1 else given

    def describe(self) -> str:
        """Returns what is to be passed, in words."""
        takers = [_describe(part) for part in self.parts if not isinstance(part, NoiseCondition)]
        return takers[0] if len(takers) == 1 else f"a list of {', '.join(takers)}"

    def __call__(self, values: Any = None, **kwargs: Any) -> Any:
        """Joins the parts."""
        values = None if values is None else self.tensors(values)
        return super().__call__(values, **kwargs)

    def call(self, values: Any = None, inputs: Any = None, training: Any = None) -> Any:
        """Returns the parts, side by side."""
        made: dict[int, Any] = {}
        noise: dict[int, NoiseCondition] = {}
        for i, (part, value) in enumerate(self._pairs(values)):
            if isinstance(part, int):
                made[i] = _checked(part, value)
            elif isinstance(part, NoiseCondition):
                noise[i] = part
            elif isinstance(part, TaskEmbedding) or not self._is_one(i, value):
                made[i] = part(value)
            else:
                made[i] = ops.squeeze(part(ops.expand_dims(value, 0)), axis=0)
        batched = [row for row in made.values() if len(row.shape) == 2]
        like = batched if inputs is None else keras.tree.flatten(inputs)
        for i, part in noise.items():
            made[i] = part(like[0]) if like else part(ops.zeros((1, 1)))
            if not like and not part.shared:
                made[i] = ops.squeeze(made[i], axis=0)
        rows = [ops.cast(made[i], self.compute_dtype) for i in range(len(self.parts))]
        if len(rows) == 1:
            return rows[0]
        batched = [row for row in rows if len(row.shape) == 2]
        if batched:
            batch = ops.shape(batched[0])[0]
            rows = [
                row if len(row.shape) == 2 else ops.broadcast_to(row, (batch, row.shape[0]))
                for row in rows
            ]
        return ops.concatenate(rows, axis=-1)

    def _pairs(self, values: Any, shapes: bool = False) -> list[tuple[Any, Any]]:
        """Returns each part with its value, or with its shape; noise has None."""
        takers = [part for part in self.parts if not isinstance(part, NoiseCondition)]
        if shapes and values is None:
            listed = [None] * len(takers)
        elif len(takers) == 1:
            listed = [values]
        elif isinstance(values, list | tuple) and len(values) == len(takers):
            listed = list(values)
        elif not takers and values is None:
            listed = []
        elif not takers:
            raise ValueError(
                "`condition` is noise alone here, and takes no value. Received: "
                f"condition={values!r}"
            )
        else:
            raise ValueError(
                f"`condition` must be a list of {len(takers)} values, one for each part but noise: "
                f"{[_describe(part) for part in takers]}. Received: condition={values!r}"
            )
        given = iter(listed)
        return [
            (part, None if isinstance(part, NoiseCondition) else next(given)) for part in self.parts
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this layer again."""
        parts = [
            part if isinstance(part, int) else serialize_shared(part, self, f"parts_{i}")
            for i, part in enumerate(self.parts)
        ]
        return {**super().get_config(), "parts": parts}


def without_rows(values: Any) -> Any:
    """Returns values of a batch as they were before `JoinedCondition.with_rows`."""
    if isinstance(values, list | tuple):
        return [without_rows(value) for value in values]
    return values[_REPEATED][0] if isinstance(values, Mapping) and _REPEATED in values else values


def _part(part: Any) -> Any:
    if isinstance(part, keras.layers.Layer):
        return part
    if isinstance(part, bool) or not isinstance(part, int):
        raise TypeError(
            "`condition` must be None, the width of a tensor, a layer such as "
            "keras_hyper.TaskEmbedding(num_tasks, dim), or a list of these. Received: "
            f"condition={part!r} (of type {type(part).__name__})"
        )
    return positive_int("condition", part)


def _checked(width: int, value: Any) -> Any:
    """Returns a tensor that is used as it is, or raises if it has another width."""
    shape = tuple(value.shape)
    if len(shape) not in (1, 2) or shape[-1] != width:
        raise ValueError(
            f"`condition` must have shape (batch, {width}), for weights of each sample's own, or "
            f"({width},), for one set of weights for the batch. Received: `condition` of shape "
            f"{shape}. The width is an argument of the hypernetwork: condition={width}."
        )
    floating("condition", value, "Task ids go through keras_hyper.TaskEmbedding.")
    return value


def _width(part: Any, shape: Any) -> int | None:
    if isinstance(part, int):
        return part
    if isinstance(part, NoiseCondition | TaskEmbedding):
        return part.dim
    shape = _with_rows(part, shape)
    return None if shape is None else int(part.compute_output_shape(shape)[-1])


def _with_rows(part: keras.layers.Layer, shape: Any) -> tuple[int | None, ...] | None:
    """Returns the shape of values of a layer with a row for each sample, if it is known.

    Args:
        part: The layer.
        shape: Shape of its value in a call, if there is one.
    """
    own = getattr(part, "input_shape", None) if part.built else None
    if own is not None or shape is None:
        return own
    return (None, *shape) if len(shape) < 2 else tuple(shape)


def _describe(part: Any) -> str:
    if isinstance(part, int):
        return f"a tensor of width {part}"
    if isinstance(part, TaskEmbedding):
        return f"task ids below {part.num_tasks}"
    return f"what {type(part).__name__} '{part.name}' takes"
