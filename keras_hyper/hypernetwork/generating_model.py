"""A model that builds generated weights for its target, and runs the target with them."""

import contextlib
from types import SimpleNamespace
from typing import Any, Self

import keras
from keras import ops

from keras_hyper.application import is_quantized
from keras_hyper.conditions import TaskEmbedding
from keras_hyper.hypernetwork.arguments import configuration_of
from keras_hyper.hypernetwork.conditional_model import ConditionalModel
from keras_hyper.hypernetwork.generating import generate, make_weights
from keras_hyper.hypernetwork.past_tasks import PastTasks
from keras_hyper.hypernetwork.planning import default_for
from keras_hyper.hypernetwork.running import TargetRunner, batched_tensors
from keras_hyper.hypernetwork.selection import Generators, Include, divide
from keras_hyper.kernels import Kernel
from keras_hyper.ops import same_batch
from keras_hyper.ops.sample_axis import without_axis
from keras_hyper.saving import hold
from keras_hyper.saving.places import one_load
from keras_hyper.saving.sharing import copy_in_graph, hold_in_graph
from keras_hyper.saving.sublayers import restore_sublayers
from keras_hyper.typing import Condition, Config, DType, Shape, Shapes, Tensor, Tensors
from keras_hyper.utils.constants import warn_of_constants
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.graph import NamedWeight, walk
from keras_hyper.utils.inputs import build_target, dtype_of
from keras_hyper.weights import GeneratedWeight
from keras_hyper.weights.scopes import given


class GeneratingModel(ConditionalModel):
    """Base of `Hypernetwork`, without its arguments and public methods.

    Attributes:
        generated_weights: The generated weights by path, empty before `build`.
        ordinary_reasons: Why the rest of the weights are not generated, by path.
        past_tasks: The weights of finished tasks, with `output_regularization`.
        record: The record of the target in the configuration, for a model from a file.
        was_quantized: Whether the target was quantized before `build`.
    """

    include: Include
    composition: str
    base_trainable: bool
    state_per_task: bool
    share_generators: bool
    output_regularization: float | None
    generated_weights: dict[str, GeneratedWeight]
    ordinary_reasons: dict[str, str]
    past_tasks: PastTasks | None
    sample_seeds: keras.random.SeedGenerator
    record: Config | None
    was_quantized: bool
    generators: SimpleNamespace

    @property
    def generator(self) -> Generators:
        """The generator, or the dict from patterns to generators.

        It is not a sublayer: if each weight has a copy, the generator itself is never built.
        """
        generator: Generators = self.generators.value
        return generator

    @property
    def condition_per_weight(self) -> bool:
        """Whether the condition has a row for each generated weight."""
        return self.condition is not None and bool(self.condition.per_weight)

    @property
    def trainable(self) -> bool:
        """Whether the model is trainable. A frozen base stays frozen."""
        return bool(super().trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        # TensorFlow skips an unchanged assignment to a layer, and so the layers below it.
        for layer in walk(self):
            if layer is not self and layer.trainable is not bool(value):
                layer.trainable = value
        for weight in self.generated_weights.values() if not self.base_trainable else ():
            if isinstance(weight.base, keras.Variable):
                weight.base.trainable = False

    def build(self, inputs_shape: Shapes, condition_shape: Shapes = None) -> None:
        """Builds the target and the generated weights."""
        shapes = {"inputs_shape": inputs_shape, "condition_shape": condition_shape}
        self.built_for = {**self.built_for, **shapes}
        target_shape = without_axis(inputs_shape) if self.sample_axis else inputs_shape
        build_target(self.target, target_shape, self.built_for.get("input_dtypes"))
        self.was_quantized = any(is_quantized(layer) for layer in walk(self.target))
        width = None
        if self.condition is not None:
            if condition_shape is None and self.condition.takes_values:
                raise self.needs_condition("Received: condition=None")
            self.condition.build(condition_shape)
            width = self.condition.width()
        parts = divide(self.target, self.include, self.composition, self.record)
        if self.generator is None:
            # Part of the configuration: other versions may have another default.
            self.generators.value = default_for(
                parts.included, self.composition, width, self.dtype_policy, f"{self.name}_generator"
            )
        made, self.ordinary_reasons = make_weights(self, parts, width)
        if self.condition is not None:
            self.condition.expect_weights(len(made))
        hold(self, "generated_weights", made)
        for weight in parts.weights if self.record is not None else ():
            if weight.path not in made:
                weight.variable.trainable = weight.path not in parts.frozen
        of_tasks = None
        if self.state_per_task:
            of_tasks = [self._per_task(weight) for weight in parts.state]
            hold(self, "state_of_tasks", of_tasks)
        self.runner = TargetRunner(self, parts, of_tasks)
        if self.output_regularization is not None:
            self.past_tasks = PastTasks(self.tasks().num_tasks, self.dtype_policy)
            self.past_tasks.build(width or 0, [weight.weight_shape for weight in made.values()])
        if self.record is not None:
            restore_sublayers(self.record, self)
            self.runner.freeze(self.record["frozen_now"])
            self.runner.added()
        freeze_what_is_new(self)

    def _per_task(self, weight: NamedWeight) -> keras.Variable:
        """Returns a variable with a row of the state for each task."""
        tasks, variable = self.tasks().num_tasks, weight.variable

        def initializer(shape: Shape, dtype: DType = None) -> Tensor:
            return ops.stack([ops.cast(variable.value, dtype)] * tasks)

        return self.add_weight(
            name=f"{weight.path.replace('/', '_')}_of_tasks",
            shape=(tasks, *variable.shape),
            dtype=variable.dtype,
            initializer=initializer,
            trainable=False,
        )

    def tasks(self) -> TaskEmbedding:
        """Returns the `TaskEmbedding` of the condition."""
        embedding = None if self.condition is None else self.condition.task_embedding
        if embedding is None:
            raise ValueError(f"Hypernetwork '{self.name}' has no TaskEmbedding.")
        return embedding

    def task_in(self, condition: Condition) -> Tensor | None:
        """Returns the task ids in a condition, None without `state_per_task`."""
        if self.condition is None or not self.state_per_task:
            return None
        return self.condition.task_ids(condition)

    def joined(self, condition: Condition, **kwargs: Any) -> Tensor | None:
        """Returns the parts of a condition as one tensor, None without a condition."""
        return None if self.condition is None else self.condition(condition, **kwargs)

    def __call__(self, inputs: Tensors, condition: Condition = None, **kwargs: Any) -> Tensors:
        """Validates `inputs` and `condition` before `keras.Model.__call__`."""
        inputs, condition = self.unpack(inputs, condition)
        hold_in_graph(self, inputs, condition)
        warn_of_constants(self, inputs, condition)
        condition = self.check_condition(inputs, condition)
        if not self.built:
            self.built_for = {"input_dtypes": keras.tree.map_structure(dtype_of, inputs)}
        if condition is not None:
            kwargs["condition"] = condition
        return super().__call__(inputs, **kwargs)

    def call(
        self, inputs: Tensors, condition: Condition = None, training: bool | None = None
    ) -> Tensors:
        """Returns the outputs of the target."""
        # JAX trains with `call`, without `__call__`.
        inputs, condition = self.unpack(inputs, condition)
        condition = self.check_condition(inputs, condition)
        vector = adapted = None
        all_given = all(given(weight) is not None for weight in self.generated_weights.values())
        if self.condition is not None and not all_given:
            vector = self.joined(condition, inputs=inputs, training=training)
            adapted = self.condition.adapted(condition)
            for x in batched_tensors(inputs)[:1]:
                vector = same_batch(vector, x, rank=2 if self.condition_per_weight else 1)
                adapted = None if adapted is None else same_batch(adapted, x, rank=0)
        kernels = self.kernels(vector, training, adapted=adapted)
        if self.past_tasks is not None and training and self.output_regularization:
            past = self.kernels(ops.convert_to_tensor(self.past_tasks.conditions), penalize=False)
            drift = self.past_tasks([kernel.materialize() for kernel in past.values()])
            self.add_loss(self.output_regularization * drift)
        return self.runner.run(inputs, kernels, self.task_in(condition), training)

    def kernels(
        self,
        vector: Tensor,
        training: bool | None = None,
        penalize: bool = True,
        adapted: Tensor | None = None,
    ) -> dict[str, Kernel]:
        """Returns the generated weights by path. See `generate`."""
        self.runner.added()
        return generate(self, vector, training, penalize, adapted)

    def mapped_layers(self) -> list[keras.Layer]:
        """Returns the layers of the target that are called once for each sample.

        No function is registered that applies their classes to per-sample weights.
        """
        if self.condition is None or not self.built:
            return []
        return self.runner.injection.mapped(self.generated_weights)

    def compute_output_spec(
        self, inputs: Tensors, condition: Condition = None, training: bool | None = None
    ) -> Tensors:
        """Returns the outputs of the target, symbolically."""
        inputs, condition = self.unpack(inputs, condition)
        self.check_condition(inputs, condition)
        return self.outputs_of(inputs)

    def save_own_variables(self, store: Any) -> None:
        """Saves the variables of the target that are not generated."""
        self.runner.added()
        super().save_own_variables(store)

    def get_config(self) -> Config:
        """Returns the arguments to construct this model again."""
        return {**keras.layers.Layer.get_config(self), **configuration_of(self)}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Config | None = None) -> Self:
        """Returns a model constructed from the arguments that `get_config` returned."""
        with contextlib.ExitStack() as scopes:
            scopes.enter_context(one_load(join=True))
            if custom_objects:  # An empty scope would hide an open one.
                scopes.enter_context(keras.saving.custom_object_scope(custom_objects))
            return copy_in_graph(config, cls)
