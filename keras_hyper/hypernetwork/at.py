"""A hypernetwork at one condition."""

from typing import Any

import keras
from keras import ops

from keras_hyper.saving import deserialize_shared, is_config, serializable, serialize_shared
from keras_hyper.saving.places import hold_shared
from keras_hyper.utils.inputs import stand_ins


@serializable
class HypernetworkAt(keras.Model):
    """A hypernetwork with its condition fixed: a model of the inputs alone.

    What `Hypernetwork.at` returns. It owns no variables: those that it trains are
    the hypernetwork's.

    Args:
        hypernetwork: A `Hypernetwork` with a condition.
        condition: One condition: a task id, or numbers of shape `(dim,)`; a list
            of one for each part.
        **kwargs: Arguments of `keras.Model`.

    Call arguments:
        inputs: What the target takes.
        training: Boolean.

    Output shape:
        That of the target.

    Raises:
        ValueError: If the condition does not fit.

    Examples:
        >>> import keras
        >>> from keras_hyper import Hypernetwork, TaskEmbedding
        >>> target = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> hyper = Hypernetwork(target, condition=TaskEmbedding(num_tasks=4, dim=5))
        >>> model = hyper.at(2)
        >>> tuple(model(keras.ops.ones((7, 3))).shape)
        (7, 2)
    """

    def __init__(self, hypernetwork: Any, condition: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        if is_config(hypernetwork):
            hypernetwork = deserialize_shared(hypernetwork, self, "hypernetwork")
        self.hypernetwork = hypernetwork
        self.supports_masking = True
        joined = self.hypernetwork.condition
        if joined is None or not joined.takes_values:
            raise ValueError(
                f"Hypernetwork '{self.hypernetwork.name}' takes no condition that could be fixed: "
                "use it as it is."
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
        # Plain numbers: a tensor would belong to the graph that it was made in.
        self.condition = keras.tree.map_structure(
            lambda v: ops.convert_to_numpy(v).tolist(), values
        )
        self._dtypes = keras.tree.map_structure(
            lambda v: keras.backend.standardize_dtype(v.dtype), values
        )
        if self.hypernetwork.built:
            self.build(self.hypernetwork.get_build_config()["inputs_shape"])

    def build(self, inputs_shape: Any) -> None:
        """Creates nothing: the hypernetwork is built by its own first call."""

    def values(self) -> Any:
        """Returns the condition as tensors."""
        if isinstance(self._dtypes, str):
            return ops.convert_to_tensor(self.condition, dtype=self._dtypes)
        pairs = zip(self.condition, self._dtypes, strict=True)
        return [ops.convert_to_tensor(value, dtype=dtype) for value, dtype in pairs]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model."""
        # Not before: `hyper.at` changes no configuration of a model that has `hyper` in it.
        hold_shared(self.hypernetwork, self, "hypernetwork")
        return super().__call__(*args, **kwargs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Returns the outputs of the target."""
        return self.hypernetwork(inputs, condition=self.values(), training=training)

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """Returns the outputs of the target, symbolically."""
        return self.hypernetwork.outputs_of(inputs)

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        """Returns the shapes of the outputs of the target."""
        return self.hypernetwork.compute_output_shape(inputs_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Returns None: the target's own layers put masks on the outputs."""
        return

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Exports the model, as `keras.Model.export` does."""
        built = self.hypernetwork.get_build_config()
        if built is not None:
            # Keras exports nothing that was never called. Values leave no node in a graph.
            inputs = stand_ins(built["inputs_shape"], built["input_dtypes"])
            self(keras.tree.map_structure(_zeros, inputs), training=False)
        return super().export(*args, **kwargs)

    def bake(self) -> keras.Model:
        """Returns a plain Keras model with the weights for the condition."""
        return self.hypernetwork.bake(self.values())

    to_stock = bake  # As a layer of a model that is baked.

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this model again."""
        return {
            **keras.layers.Layer.get_config(self),
            "hypernetwork": serialize_shared(self.hypernetwork, self, "hypernetwork"),
            "condition": self.condition,
        }


def _zeros(spec: keras.KerasTensor) -> Any:
    return ops.zeros([n or 1 for n in spec.shape], dtype=spec.dtype)
