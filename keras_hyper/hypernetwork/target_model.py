"""A model with the inputs, outputs and variables of another model, its target."""

from typing import Any

import keras

from keras_hyper.hypernetwork.target import TargetVariables
from keras_hyper.ops.sample_axis import (
    folded_spec,
    spec_with_axis,
    unfolded_spec,
    with_axis,
    without_axis,
)
from keras_hyper.typing import Config, Shapes, Tensors
from keras_hyper.utils.graph import finish_loading
from keras_hyper.utils.inputs import as_tuples, build_target, input_shapes, inputs_of


class TargetModel(keras.Model):
    """Base of a model that runs its target.

    Attributes:
        target: The target.
        sample_axis: Whether inputs and outputs have an axis of samples after the first.
        target_variables: The variables of the target, after `build`.
        built_for: Shapes for which the model is built, and dtypes if it was called.
    """

    target: keras.Layer
    sample_axis: bool
    target_variables: TargetVariables
    built_for: Config

    @property
    def input_spec(self) -> keras.InputSpec | None:
        """The input spec of the target, with which Keras validates inputs before a call."""
        return None if self.sample_axis else self.target.input_spec

    def __dir__(self) -> list[str]:
        """Hides the target from Keras, which would save its replaced weights."""
        return [name for name in super().__dir__() if name != "target"]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables except weights of the target that are replaced by generated ones."""
        return self._used(super().variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """All weights except those of the target that are replaced by generated ones."""
        return self._used(super().weights)

    def _used(self, variables: list[keras.Variable]) -> list[keras.Variable]:
        if not hasattr(self, "target_variables"):
            return variables
        unused = self.target_variables.unused()
        return [v for v in variables if id(v) not in unused]

    def known_shapes(self) -> Shapes:
        """Returns the input shapes of a built target, None if they are unknown."""
        shapes = input_shapes(self.target)
        return with_axis(shapes) if self.sample_axis and shapes is not None else shapes

    def build_target(self) -> None:
        """Builds the target for inputs of the shapes in `built_for`."""
        shapes = self.built_for["inputs_shape"]
        shapes = without_axis(shapes) if self.sample_axis else shapes
        build_target(self.target, shapes, self.built_for.get("input_dtypes"))

    def takes(self) -> Tensors | None:
        """Returns the inputs, without a condition, as symbolic tensors, None if unknown."""
        structure = inputs_of(self.target, self.get_build_config())
        if not self.sample_axis or getattr(self.target, "inputs", None) is None:
            return structure
        return keras.tree.map_structure(spec_with_axis, structure)

    def target_inputs(self, inputs: Tensors) -> Tensors:
        """Returns inputs as the target takes them: symbolic ones with `sample_axis`."""
        return folded_spec(inputs) if self.sample_axis and batched_tensors(inputs) else inputs

    def outputs_of(self, inputs: Tensors) -> Tensors:
        """Returns the outputs for inputs, symbolically."""
        outputs = self.target.compute_output_spec(self.target_inputs(inputs))
        return unfolded_spec(outputs, inputs) if self.sample_axis else outputs

    def compute_output_shape(self, inputs_shape: Shapes, condition_shape: Shapes = None) -> Shapes:
        """Returns the shapes of the outputs of the target."""
        if not self.sample_axis:
            return self.target.compute_output_shape(inputs_shape)
        lead = tuple(inputs_shape[:2])
        outputs_shape = self.target.compute_output_shape((None, *inputs_shape[2:]))
        return keras.tree.map_shape_structure(lambda s: (*lead, *s[1:]), outputs_shape)

    def compute_mask(self, inputs: Tensors, previous_mask: Tensors) -> None:
        """Returns None: the layers of the target attach masks to the outputs."""

    def save_own_variables(self, store: Any) -> None:
        """Saves the variables of the target that are not generated."""
        self.target_variables.save(store)

    def load_own_variables(self, store: Any) -> None:
        """Loads the variables that `save_own_variables` saved."""
        self.target_variables.load(store)
        finish_loading(self.target)

    def get_build_config(self) -> Config | None:
        """Returns the shapes and dtypes for `build_from_config`."""
        return {"input_dtypes": None, **self.built_for} if self.built else None

    def build_from_config(self, config: Config) -> None:
        """Builds the model as it was built when it was saved."""
        if self.built:
            return
        self.built_for = {"input_dtypes": config["input_dtypes"]}
        inputs, condition = as_tuples(config["inputs_shape"]), as_tuples(config["condition_shape"])
        self.build(inputs) if condition is None else self.build(inputs, condition)


def batched_tensors(inputs: Tensors) -> list[Any]:
    """Returns the tensors of a structure that have a batch axis."""
    return [x for x in keras.tree.flatten(inputs) if len(getattr(x, "shape", ()))]
