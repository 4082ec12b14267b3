"""Parts of a condition: tensors, task ids, masks, noise, and layers that map values to vectors."""

from typing import Any

import keras
from keras import ops

from keras_hyper.conditions.adapter_mask import AdapterMask
from keras_hyper.conditions.noise import NoiseCondition
from keras_hyper.conditions.task_embedding import TaskEmbedding
from keras_hyper.typing import Shape, Tensor
from keras_hyper.utils.checks import floating, positive_int, wrong_type
from keras_hyper.utils.graph import has_made_up_name


class Part:
    """A layer that maps values to vectors, such as a context network.

    Args:
        source: The layer, or the width of a tensor.
        per_weight: Whether the condition has one row per generated weight.

    Attributes:
        takes_value: Whether callers pass a value for this part.
        is_mask: Whether the part selects samples instead of adding to the condition.
        weights: Number of generated weights, None if unknown.
    """

    takes_value = True
    is_mask = False
    weights: int | None = None

    def __init__(self, source: keras.Layer | int, per_weight: bool) -> None:
        self.source: Any = source
        self.per_weight = per_weight
        # Shape of values with a batch axis, None if unknown.
        self._shape: Shape | None = None
        self._width: int | None = None

    def build(self, shape: Shape | None, name: str) -> None:
        """Builds the layer.

        Args:
            shape: Shape of the values.
            name: Name for the paths of variables, if Keras generated the name of the layer. Such
                names differ between processes. The layer itself keeps its name.
        """
        layer = self.source
        self._shape = (None, *shape) if shape is not None and len(shape) < 2 else shape
        if not layer.built or self.width is None:
            own, layer.name = layer.name, name if has_made_up_name(layer) else layer.name
            try:
                self._build_layer()
            finally:
                layer.name = own

    def _build_layer(self) -> None:
        # A symbolic call also builds layers without a `build` method.
        self._width = int(self.source(self.spec).shape[-1])

    @property
    def width(self) -> int | None:
        """The width of this part, None if unknown."""
        own = getattr(self.source, "output_shape", None) if self.source.built else None
        return self._width if own is None else int(own[-1])

    @property
    def row(self) -> Shape:
        """The shape of a value for one sample: a vector if it is unknown."""
        own = getattr(self.source, "input_shape", None) if self.source.built else None
        return tuple(own or self._shape or (None, None))[1:]

    @property
    def dtype(self) -> str:
        """The dtype of values."""
        model = hasattr(self.source, "inputs")
        return str(self.source.inputs[0].dtype) if model else keras.config.floatx()

    @property
    def spec(self) -> keras.KerasTensor:
        """The shape and dtype of per-sample values."""
        return keras.KerasTensor((None, *self.row), dtype=self.dtype)

    def is_one(self, value: Tensor) -> bool:
        """Returns whether a value has no batch axis."""
        return len(value.shape) <= len(self.row)

    def check(self, value: Tensor) -> None:
        """Raises if a value has an invalid shape or dtype."""

    def make(self, value: Tensor) -> tuple[Tensor, bool]:
        """Returns this part of the condition, and whether it has a batch axis.

        Args:
            value: The value. For noise, a tensor with the required batch size, or None.
        """
        row, batched = self._make(value)
        if not self.per_weight:
            return row, batched
        if len(row.shape) == 1 + batched and self.weights is not None:
            return ops.repeat(ops.expand_dims(row, -2), self.weights, axis=-2), batched
        if len(row.shape) != 2 + batched or self.weights not in (None, row.shape[-2]):
            raise ValueError(
                f"A layer of `condition` must return a row for each of the {self.weights} "
                "generated weights, in the order of `generated_weights`, or one row. Received: "
                f"outputs of shape {tuple(row.shape)}."
            )
        return row, batched

    def _make(self, value: Tensor) -> tuple[Tensor, bool]:
        if not self.is_one(value):
            return self.source(value), True
        return ops.squeeze(self.source(ops.expand_dims(value, 0)), axis=0), False

    def describe(self) -> str:
        """Returns a description of the value, for error messages."""
        return f"inputs of {type(self.source).__name__} '{self.source.name}'"


class _KnownWidth(Part):
    @property
    def width(self) -> int:
        return int(self.source.dim)

    def _build_layer(self) -> None:
        self.source.build(self._shape)


class _Scalars(Part):
    """One integer or boolean per sample."""

    row = ()

    def check(self, value: Tensor) -> None:
        self.source.check(value)


class _Tasks(_KnownWidth, _Scalars):
    dtype = "int32"

    def describe(self) -> str:
        return f"task ids below {self.source.num_tasks}"


class _Mask(_Scalars):
    is_mask = True
    width = 0
    dtype = "bool"

    def build(self, shape: Shape | None, name: str) -> None:
        pass

    def describe(self) -> str:
        return "a boolean: whether there is an adapter"


class _Noise(_KnownWidth):
    takes_value = False

    def _make(self, value: Tensor) -> tuple[Tensor, bool]:
        if value is not None:
            return self.source(value), not self.source.shared
        noise = self.source(ops.zeros((1, 1)))
        return noise if self.source.shared else ops.squeeze(noise, axis=0), False


class _Tensor(Part):
    """A tensor, with one row per weight if the condition has them."""

    def build(self, shape: Shape | None, name: str) -> None:
        pass

    @property
    def row(self) -> Shape:
        return (self.weights, self.source) if self.per_weight else (self.source,)

    @property
    def width(self) -> int:
        return int(self.source)

    def check(self, value: Tensor) -> None:
        shape, row = tuple(value.shape), self.row
        fits = [None in (a, b) or a == b for a, b in zip(shape[::-1], row[::-1], strict=False)]
        if len(shape) - len(row) not in (0, 1) or not all(fits):
            sizes = ", ".join("weights" if size is None else str(size) for size in row)
            one, order = f"({sizes},)", ""
            if self.per_weight:
                one, order = f"({sizes})", " Rows must be in the order of `generated_weights`."
            raise ValueError(
                f"`condition` must have shape (batch, {sizes}) for per-sample weights, or {one} "
                f"for one set of weights.{order} Received: `condition` of shape {shape}. The "
                f"hypernetwork was constructed with condition={self.width}."
            )
        floating("condition", value, "Task ids go through keras_hyper.TaskEmbedding.")

    def _make(self, value: Tensor) -> tuple[Tensor, bool]:
        self.check(value)
        return value, not self.is_one(value)

    def describe(self) -> str:
        if self.per_weight:
            return f"a tensor with a row of width {self.source} for each generated weight"
        return f"a tensor of width {self.source}"


def part_of(source: keras.Layer | int, per_weight: bool = False) -> Part:
    """Returns the part for an item of `condition`: a layer, or the width of a tensor."""
    if isinstance(source, keras.Layer):
        kinds = {TaskEmbedding: _Tasks, NoiseCondition: _Noise, AdapterMask: _Mask}
        return next((kinds[k] for k in kinds if isinstance(source, k)), Part)(source, per_weight)
    if isinstance(source, bool) or not isinstance(source, int):
        expected = "None, the width of a tensor, a layer such as TaskEmbedding, or a list of these"
        raise wrong_type("condition", source, expected)
    return _Tensor(positive_int("condition", source), per_weight)
