"""A hypernetwork with a fixed condition."""

from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from keras_hyper.saving import deserialize_shared, is_config, serializable, serialize_shared
from keras_hyper.saving.places import hold_shared
from keras_hyper.typing import Condition, Config, Shapes, Tensors
from keras_hyper.utils.inputs import dtype_of, stand_ins

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.hypernetwork import Hypernetwork


@serializable
class HypernetworkAt(keras.Model):
    """A hypernetwork with a fixed condition, as `Hypernetwork.at` returns it.

    It takes the inputs of the target only, for `fit`, `evaluate` or `export`. All of its variables
    belong to the hypernetwork.

    Args:
        hypernetwork: A `Hypernetwork` with a condition.
        condition: One condition: a task id, or a list or tensor of shape `(dim,)`. For several
            parts, a list with one value for each part.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: Inputs of the target.
        training: Boolean.

    Output shape:
        That of the target.

    Raises:
        ValueError: If the condition is invalid.

    Examples:
        >>> import keras
        >>> from keras_hyper import Hypernetwork, TaskEmbedding
        >>> target = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> hyper = Hypernetwork(target, condition=TaskEmbedding(num_tasks=4, dim=5))
        >>> model = hyper.at(2)
        >>> tuple(model(keras.ops.ones((7, 3))).shape)
        (7, 2)
    """

    def __init__(
        self, hypernetwork: "Hypernetwork | Config", condition: Condition, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        given: Any = hypernetwork
        if is_config(hypernetwork):
            given = deserialize_shared(hypernetwork, self, "hypernetwork")
        self.hypernetwork: Hypernetwork = given
        self.supports_masking = True
        joined = self.hypernetwork.condition
        if joined is None or not joined.takes_values:
            raise ValueError(
                f"Hypernetwork '{self.hypernetwork.name}' takes no condition, so there is none to "
                "fix. Use it without `at`."
            )
        if any(value is None for value in keras.tree.flatten(condition)) or condition is None:
            raise ValueError(
                f"`condition` must be {joined.describe()}. Received: condition={condition!r}"
            )
        values = joined.tensors(condition)
        if joined.rows(values) is not None:
            raise ValueError(
                "`condition` must be one condition: a task id, or a tensor of shape (dim,). "
                f"Received: condition={condition!r}"
            )
        joined.check(values)
        # Python numbers: a tensor would belong to the graph in which it was created.
        self.condition = keras.tree.map_structure(
            lambda v: ops.convert_to_numpy(v).tolist(), values
        )
        self._dtypes = keras.tree.map_structure(dtype_of, values)
        if self.hypernetwork.built:
            self.build(self.hypernetwork.built_for["inputs_shape"])

    def build(self, inputs_shape: Shapes) -> None:
        """Creates nothing: the first call builds the hypernetwork."""

    def values(self) -> Condition:
        """Returns the condition as tensors."""
        if isinstance(self._dtypes, str):
            return ops.convert_to_tensor(self.condition, dtype=self._dtypes)
        return list(map(ops.convert_to_tensor, self.condition, self._dtypes))

    def __call__(self, *args: Tensors, **kwargs: Any) -> Tensors:
        """Calls the model."""
        # Not in `__init__`: `hyper.at` must not change configurations that contain `hyper`.
        hold_shared(self.hypernetwork, self, "hypernetwork")
        return super().__call__(*args, **kwargs)

    def call(self, inputs: Tensors, training: bool | None = None) -> Tensors:
        """Returns the outputs of the target."""
        return self.hypernetwork(inputs, condition=self.values(), training=training)

    def compute_output_spec(self, inputs: Tensors, training: bool | None = None) -> Tensors:
        """Returns the outputs of the target, symbolically."""
        return self.hypernetwork.outputs_of(inputs)

    def compute_output_shape(self, inputs_shape: Shapes) -> Shapes:
        """Returns the shapes of the outputs of the target."""
        return self.hypernetwork.compute_output_shape(inputs_shape)

    def compute_mask(self, inputs: Tensors, previous_mask: Tensors) -> None:
        """Returns None: the layers of the target attach masks to the outputs."""

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Exports the model, as `keras.Model.export` does."""
        built = self.hypernetwork.get_build_config()
        if built is not None:
            # Keras only exports models that were called. A call on values adds no graph node.
            inputs = stand_ins(built["inputs_shape"], built["input_dtypes"])
            zeros = keras.tree.map_structure(
                lambda x: ops.zeros([n or 1 for n in x.shape], dtype=x.dtype), inputs
            )
            self(zeros, training=False)
        return super().export(*args, **kwargs)

    def bake(self) -> keras.Model:
        """Returns a plain Keras model with the weights for the condition."""
        return self.hypernetwork.bake(self.values())

    to_stock = bake  # Called by `keras_hyper.bake` for a model that contains this one.

    def get_config(self) -> Config:
        """Returns the arguments to construct this model again."""
        return {
            **keras.Layer.get_config(self),
            "hypernetwork": serialize_shared(self.hypernetwork, self, "hypernetwork"),
            "condition": self.condition,
        }
