"""The parts of a condition: a tensor, task ids, noise, or what a layer makes of a value."""

from typing import Any

import keras
from keras import ops

from keras_hyper.conditions.adapter_mask import AdapterMask
from keras_hyper.conditions.noise import NoiseCondition
from keras_hyper.conditions.task_embedding import TaskEmbedding
from keras_hyper.utils.checks import floating, positive_int
from keras_hyper.utils.graph import has_made_up_name


class Part:
    """What a layer makes of a value, such as the output of a network.

    Args:
        source: The layer.

    Attributes:
        takes_value: Whether a value is passed for this part.
        weights: The number of generated weights, where a tensor has a row for each.
        is_mask: Whether it says which samples have an adapter, and nothing of the weights.
    """

    takes_value = True
    is_mask = False
    weights: int | None = None

    def __init__(self, source: Any) -> None:
        self.source = source
        # Shape of values with a row for each sample, once it is known.
        self._shape: Any = None
        self._width: int | None = None

    def build(self, shape: Any, name: str) -> None:
        """Builds the layer for values of a shape.

        Args:
            shape: Shape of the values.
            name: Stands in the paths of variables for a name that Keras made up, whose number
                differs between processes. The layer keeps that one.
        """
        layer = self.source
        self._shape = self._with_rows(shape)
        if not layer.built or self.width is None:
            own, layer.name = layer.name, name if has_made_up_name(layer) else layer.name
            try:
                self._build_layer()
            finally:
                layer.name = own

    def _build_layer(self) -> None:
        # A symbolic call builds layers whose class has no `build`, and gives their outputs.
        self._width = int(self.source(self.spec).shape[-1])

    @property
    def width(self) -> int | None:
        """The width of this part, None if it is not known yet."""
        own = getattr(self.source, "output_shape", None) if self.source.built else None
        return self._width if own is None else int(own[-1])

    def _with_rows(self, shape: Any) -> tuple[int | None, ...] | None:
        own = getattr(self.source, "input_shape", None) if self.source.built else None
        if own is not None or shape is None:
            return own
        return (None, *shape) if len(shape) < 2 else tuple(shape)

    @property
    def row(self) -> tuple[int | None, ...]:
        """The shape of a value for one sample. Of an unknown layer that is a vector."""
        return (self._with_rows(self._shape) or (None, None))[1:]

    @property
    def spec(self) -> keras.KerasTensor:
        """Shape and dtype of a value with a row for each sample."""
        of_model = hasattr(self.source, "inputs")
        dtype = self.source.inputs[0].dtype if of_model else keras.config.floatx()
        return keras.KerasTensor((None, *self.row), dtype=dtype)

    def is_one(self, value: Any) -> bool:
        """Whether a value has no row for each sample."""
        return len(value.shape) <= len(self.row)

    def check(self, value: Any) -> None:
        """Raises if a value has the wrong shape or type."""

    def make(self, value: Any) -> tuple[Any, bool]:
        """Returns this part of the condition, and whether it has a row for each sample."""
        if not self.is_one(value):
            return self.source(value), True
        return ops.squeeze(self.source(ops.expand_dims(value, 0)), axis=0), False

    def describe(self) -> str:
        """Returns what is to be passed, in words."""
        return f"what {type(self.source).__name__} '{self.source.name}' takes"


class _Known(Part):
    """A part whose width the layer has."""

    @property
    def width(self) -> int:
        return int(self.source.dim)

    def _build_layer(self) -> None:
        self.source.build(self._shape)


class _Tasks(_Known):
    row = ()

    @property
    def spec(self) -> keras.KerasTensor:
        return keras.KerasTensor((None,), dtype="int32")

    def check(self, value: Any) -> None:
        self.source.check(value)

    def describe(self) -> str:
        return f"task ids below {self.source.num_tasks}"


class _Mask(Part):
    """Which samples have an adapter: nothing that weights depend on."""

    is_mask = True
    row = ()
    width = 0
    spec = keras.KerasTensor((None,), dtype="bool")

    def build(self, shape: Any, name: str) -> None:
        pass

    def check(self, value: Any) -> None:
        self.source.check(value)

    def make(self, value: Any) -> tuple[Any, bool]:
        return self.source(value), not self.is_one(value)

    def describe(self) -> str:
        return "a boolean: whether there is an adapter"


class _Noise(_Known):
    takes_value = False

    def make(self, value: Any) -> tuple[Any, bool]:
        """Returns noise for each row of a tensor, or one draw for None."""
        if value is not None:
            return self.source(value), not self.source.shared
        noise = self.source(ops.zeros((1, 1)))
        return noise if self.source.shared else ops.squeeze(noise, axis=0), False


class _Tensor(Part):
    """A tensor that is used as it is. The source is its width."""

    @property
    def row(self) -> tuple[int | None, ...]:
        return (self.source,)

    def build(self, shape: Any, name: str) -> None:
        pass

    @property
    def width(self) -> int:
        return int(self.source)

    def check(self, value: Any) -> None:
        width, shape = self.source, tuple(value.shape)
        if len(shape) not in (1, 2) or shape[-1] != width:
            raise ValueError(
                f"`condition` must have shape (batch, {width}), for weights of each sample's own, "
                f"or ({width},), for one set of weights for the batch. Received: `condition` of "
                f"shape {shape}. The width is an argument of the hypernetwork: condition={width}."
            )
        floating("condition", value, "Task ids go through keras_hyper.TaskEmbedding.")

    def make(self, value: Any) -> tuple[Any, bool]:
        self.check(value)
        return value, not self.is_one(value)

    def describe(self) -> str:
        return f"a tensor of width {self.source}"


class _TensorPerWeight(_Tensor):
    @property
    def row(self) -> tuple[int | None, ...]:
        return (self.weights, self.source)

    def check(self, value: Any) -> None:
        shape, expected = tuple(value.shape), self.row
        known = [None in (a, b) or a == b for a, b in zip(shape[-2:], expected, strict=False)]
        if len(shape) not in (2, 3) or not all(known):
            rows, width = (self.weights or "weights"), self.source
            raise ValueError(
                f"`condition` must have shape (batch, {rows}, {width}), for per-sample weights, or "
                f"({rows}, {width}), for one set of weights for the batch: a row for each "
                "generated weight, in the order of `generated_weights`. Received: `condition` of "
                f"shape {shape}."
            )
        floating("condition", value, "Task ids go through keras_hyper.TaskEmbedding.")

    def describe(self) -> str:
        return f"a tensor with a row of width {self.source} for each generated weight"


def part_of(source: Any, per_weight: bool = False) -> Part:
    """Returns a part for an item of `condition`, or raises if the item has no meaning.

    Args:
        source: The width of a tensor, or a layer.
        per_weight: Whether a tensor has a row for each generated weight.
    """
    if isinstance(source, keras.layers.Layer):
        kinds = {TaskEmbedding: _Tasks, NoiseCondition: _Noise, AdapterMask: _Mask}
        return next((kinds[k] for k in kinds if isinstance(source, k)), Part)(source)
    if isinstance(source, bool) or not isinstance(source, int):
        raise TypeError(
            "`condition` must be None, the width of a tensor, a layer such as "
            "keras_hyper.TaskEmbedding(num_tasks, dim), or a list of these. Received: "
            f"condition={source!r} (of type {type(source).__name__})"
        )
    return (_TensorPerWeight if per_weight else _Tensor)(positive_int("condition", source))
