"""The parts of a condition: a tensor, task ids, noise, or what a layer makes of a value."""

import keras
from keras import ops

from keras_hyper.conditions.adapter_mask import AdapterMask
from keras_hyper.conditions.noise import NoiseCondition
from keras_hyper.conditions.task_embedding import TaskEmbedding
from keras_hyper.saving import serialize_shared
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.checks import floating, positive_int
from keras_hyper.utils.graph import has_made_up_name


class Part:
    """What a layer makes of a value, such as the output of a network.

    Args:
        source: The layer, or the width of a tensor.
        per_weight: Whether the condition has a row for each generated weight.

    Attributes:
        takes_value: Whether a value is passed for this part.
        tasks: The layer, if it looks up task ids.
        is_mask: Whether it says which samples have an adapter, and nothing of the weights.
        weights: The number of generated weights, None if it is not known yet.
    """

    takes_value = True
    is_mask = False
    tasks: TaskEmbedding | None = None
    weights: int | None = None

    def __init__(self, source: keras.Layer | int, per_weight: bool) -> None:
        self.source: keras.Layer = source
        self.per_weight = per_weight
        # Shape of values with a row for each sample, once it is known.
        self._shape: Shape | None = None
        self._width: int | None = None

    def build(self, shape: Shape | None, name: str) -> None:
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

    def _with_rows(self, shape: Shape | None) -> Shape | None:
        own = getattr(self.source, "input_shape", None) if self.source.built else None
        if own is not None or shape is None:
            return own
        return (None, *shape) if len(shape) < 2 else tuple(shape)

    @property
    def row(self) -> Shape:
        """The shape of a value for one sample. Of an unknown layer that is a vector."""
        return (self._with_rows(self._shape) or (None, None))[1:]

    @property
    def spec(self) -> keras.KerasTensor:
        """Shape and dtype of a value with a row for each sample."""
        of_model = hasattr(self.source, "inputs")
        dtype = self.source.inputs[0].dtype if of_model else keras.config.floatx()
        return keras.KerasTensor((None, *self.row), dtype=dtype)

    def is_one(self, value: Tensor) -> bool:
        """Whether a value has no row for each sample."""
        return len(value.shape) <= len(self.row)

    def check(self, value: Tensor) -> None:
        """Raises if a value has the wrong shape or type."""

    def make(self, value: Tensor) -> tuple[Tensor, bool]:
        """Returns this part of the condition, and whether it has a row for each sample.

        Args:
            value: The value; for noise, a tensor whose rows are counted, or None.
        """
        row, batched = self._make(value)
        if not self.per_weight:
            return row, batched
        if len(row.shape) == 1 + batched and self.weights is not None:
            return ops.repeat(ops.expand_dims(row, -2), self.weights, axis=-2), batched
        if len(row.shape) != 2 + batched or self.weights not in (None, row.shape[-2]):
            raise ValueError(
                f"A layer of `condition` must return a row for each of the {self.weights} "
                "generated weights, in the order of `generated_weights`, or one for all. Received: "
                f"outputs of shape {tuple(row.shape)}."
            )
        return row, batched

    def _make(self, value: Tensor) -> tuple[Tensor, bool]:
        if not self.is_one(value):
            return self.source(value), True
        return ops.squeeze(self.source(ops.expand_dims(value, 0)), axis=0), False

    def describe(self) -> str:
        """Returns what is to be passed, in words."""
        return f"what {type(self.source).__name__} '{self.source.name}' takes"

    def serialize(self, owner: keras.Layer, name: str) -> Config | int | None:
        """Returns the configuration of this part."""
        return serialize_shared(self.source, owner, name)


class _KnownWidth(Part):
    @property
    def width(self) -> int:
        return int(self.source.dim)

    def _build_layer(self) -> None:
        self.source.build(self._shape)


class _Tasks(_KnownWidth):
    row = ()

    def __init__(self, source: TaskEmbedding, per_weight: bool) -> None:
        super().__init__(source, per_weight)
        self.tasks = source

    @property
    def spec(self) -> keras.KerasTensor:
        return keras.KerasTensor((None,), dtype="int32")

    def check(self, value: Tensor) -> None:
        self.source.check(value)

    def describe(self) -> str:
        return f"task ids below {self.source.num_tasks}"


class _Mask(Part):
    """Which samples have an adapter: nothing that weights depend on."""

    is_mask = True
    row = ()
    width = 0
    spec = keras.KerasTensor((None,), dtype="bool")

    def build(self, shape: Shape | None, name: str) -> None:
        pass

    def check(self, value: Tensor) -> None:
        self.source.check(value)

    def make(self, value: Tensor) -> tuple[Tensor, bool]:
        return self.source(value), not self.is_one(value)

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
    """A tensor that is used as it is, with a row for each weight if the condition has them."""

    @property
    def row(self) -> Shape:
        return (self.weights, self.source) if self.per_weight else (self.source,)

    def build(self, shape: Shape | None, name: str) -> None:
        pass

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
                one, order = f"({sizes})", ", with rows in the order of `generated_weights`"
            raise ValueError(
                f"`condition` must have shape (batch, {sizes}), for per-sample weights, or {one}, "
                f"for one set of weights for the batch{order}. Received: `condition` of shape "
                f"{shape}. The width is an argument of the hypernetwork: condition={self.width}."
            )
        floating("condition", value, "Task ids go through keras_hyper.TaskEmbedding.")

    def _make(self, value: Tensor) -> tuple[Tensor, bool]:
        self.check(value)
        return value, not self.is_one(value)

    def describe(self) -> str:
        if self.per_weight:
            return f"a tensor with a row of width {self.source} for each generated weight"
        return f"a tensor of width {self.source}"

    def serialize(self, owner: keras.Layer, name: str) -> int:
        return self.width


def part_of(source: keras.Layer | int, per_weight: bool = False) -> Part:
    """Returns a part for an item of `condition`, or raises if the item has no meaning.

    Args:
        source: The width of a tensor, or a layer.
        per_weight: Whether the condition has a row for each generated weight.
    """
    if isinstance(source, keras.Layer):
        kinds = {TaskEmbedding: _Tasks, NoiseCondition: _Noise, AdapterMask: _Mask}
        return next((kinds[k] for k in kinds if isinstance(source, k)), Part)(source, per_weight)
    if isinstance(source, bool) or not isinstance(source, int):
        raise TypeError(
            "`condition` must be None, the width of a tensor, a layer such as "
            "keras_hyper.TaskEmbedding(num_tasks, dim), or a list of these. Received: "
            f"condition={source!r} (of type {type(source).__name__})"
        )
    return _Tensor(positive_int("condition", source), per_weight)
