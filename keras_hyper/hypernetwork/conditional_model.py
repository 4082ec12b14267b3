"""A model that runs another model, its target, and takes a condition besides the inputs."""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_hyper.conditions import JoinedCondition
from keras_hyper.conditions.joined import without_rows
from keras_hyper.hypernetwork.running import TargetRunner, batched_tensors
from keras_hyper.ops.sample_axis import folded_spec, spec_with_axis, unfolded_spec
from keras_hyper.typing import Condition, Config, Shapes, Tensors
from keras_hyper.utils.graph import finish_loading
from keras_hyper.utils.inputs import as_tuples, check_inputs, inputs_of, named


def _with_checks(name: str) -> Callable[..., Any]:
    """Returns a method of `keras.Model` that validates arrays of inputs and conditions."""
    stock = getattr(keras.Model, name)
    signature = inspect.signature(stock)

    @functools.wraps(stock)
    def method(self: "ConditionalModel", *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        given = bound.arguments
        given["x"] = self.prepared(given.get("x"), rows=not name.endswith("_on_batch"))
        validation = given.get("validation_data")
        if isinstance(validation, list | tuple) and validation:
            given["validation_data"] = (self.prepared(validation[0]), *validation[1:])
        return getattr(super(ConditionalModel, self), name)(*bound.args[1:], **bound.kwargs)

    return method


class ConditionalModel(keras.Model):
    """Base of a model that takes the inputs of its target, and a condition.

    Both may be in one dict with the keys `"inputs"` and `"condition"`, or with a key for each
    tensor.

    Attributes:
        target: The target.
        condition: None, or a `JoinedCondition`.
        sample_axis: Whether inputs and outputs have an axis of samples after the first.
        runner: Runs the target, after `build`.
        built_for: Shapes for which the model is built, and dtypes if it was called.
    """

    target: keras.Layer
    condition: JoinedCondition | None
    sample_axis: bool
    runner: TargetRunner
    built_for: Config

    @property
    def input_spec(self) -> keras.InputSpec | None:
        """The input spec of the target, with which Keras validates inputs before a call."""
        return None if self.sample_axis else self.target.input_spec

    def __dir__(self) -> list[str]:
        """Hides the layers of the target from Keras, which would save their weights again."""
        return [name for name in super().__dir__() if name not in ("target", "layers")]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables except weights of the target that are replaced by generated ones."""
        return self._used(super().variables)

    @property
    def weights(self) -> list[keras.Variable]:
        """All weights except those of the target that are replaced by generated ones."""
        return self._used(super().weights)

    def _used(self, variables: list[keras.Variable]) -> list[keras.Variable]:
        if not hasattr(self, "runner"):
            return variables
        unused = self.runner.unused()
        return [v for v in variables if id(v) not in unused]

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
        for i, variable in enumerate(self.runner.stored()):
            store[str(i)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Loads the variables that `save_own_variables` saved."""
        self.runner.load(store)
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

    def unpack(self, inputs: Tensors, condition: Condition) -> tuple[Tensors, Condition]:
        """Returns inputs and condition, from a dict that contains both or as they were passed.

        Raises:
            ValueError: If `inputs` is a dict without a condition, or has unexpected keys.
        """
        if self.condition is None or not self.condition.takes_values:
            return inputs, condition
        if condition is not None or not isinstance(inputs, Mapping):
            return inputs, condition
        rest, names = dict(inputs), self.condition.value_names()
        if "condition" in rest:
            condition = without_rows(rest.pop("condition"))
        elif rest.keys() >= set(names):
            condition = [rest.pop(name) for name in names]
        structure = self.takes()
        if condition is not None:
            nested = keras.tree.is_nested(rest.get("inputs"))
            if rest.keys() == {"inputs"} and (nested or not isinstance(structure, Mapping)):
                return rest["inputs"], condition
            model = isinstance(self.target, keras.Model)
            one_tensor = isinstance(self.target, keras.Sequential) or not model
            if structure is None and not one_tensor:
                return rest, condition
            if isinstance(structure, Mapping) and rest.keys() == structure.keys():
                return rest, condition
            flat = {} if structure is None else named(structure, "inputs")
            if flat and rest.keys() == flat.keys():
                values = [rest[name] for name in flat]
                return keras.tree.pack_sequence_as(structure, values), condition
        expected = [*(["inputs"] if structure is None else named(structure, "inputs")), *names]
        either = "" if expected == ["inputs", "condition"] else f", or {expected}"
        raise self.needs_condition(
            f"Received: a dict of inputs with the keys {sorted(inputs)}. Expected: the keys "
            f"['inputs', 'condition']{either}."
        )

    def needs_condition(self, advice: str, purpose: str = "") -> ValueError:
        """Returns the error for a missing condition."""
        described = "" if self.condition is None else self.condition.describe()
        return ValueError(
            f"Hypernetwork '{self.name}' needs a `condition`{purpose}: {described}. {advice}"
        )

    def check_condition(self, inputs: Tensors, condition: Condition) -> Condition:
        """Returns the condition as tensors, or raises if inputs or condition are invalid."""
        check_inputs(self.target, self.target_inputs(inputs))
        if self.condition is None:
            if condition is not None:
                raise ValueError(
                    f"Hypernetwork '{self.name}' was made without a condition. Received: "
                    f"condition={condition!r}. Pass `condition=` to its constructor: a "
                    "TaskEmbedding, or the width of a tensor."
                )
            return None
        if condition is None:
            if self.condition.takes_values:
                raise self.needs_condition(
                    "Received: condition=None. Pass one to the call, to `generate` or to `bake`; "
                    'in `fit` pass {"inputs": x, "condition": c}; or use `hyper.at(condition)`.'
                )
            return None
        condition = self.condition.tensors(condition, inputs)
        self.condition.check(condition)
        rows = self.condition.rows(condition)
        batches = {x.shape[0] for x in batched_tensors(inputs)}
        if rows is not None and batches and None not in batches and batches != {rows}:
            raise ValueError(
                f"Hypernetwork '{self.name}' needs one condition for each sample, or one for all. "
                f"Received: conditions for {rows} samples, and inputs of batch size "
                f"{sorted(batches)}"
            )
        return condition

    def train_step(self, *args: Any) -> Any:
        """Trains on a batch."""
        return super().train_step(*args[:-1], self._with_inputs_first(args[-1]))

    def test_step(self, *args: Any) -> Any:
        """Evaluates a batch."""
        return super().test_step(*args[:-1], self._with_inputs_first(args[-1]))

    def _with_inputs_first(self, data: Tensors) -> Tensors:
        """Returns data with the inputs before the condition.

        Keras reads the batch size from the first tensor, which must not be a single task id.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs, condition = self.unpack(x, None)
        if condition is None:
            return data
        x = OrderedDict(inputs=inputs, condition=condition)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def prepared(self, x: Any, rows: bool = True) -> Any:
        """Returns the argument `x` of `fit` such that Keras can divide it into batches.

        Validates all task ids, since compiled code cannot raise for an invalid one.

        Args:
            x: Argument of `fit` and similar methods. Only a dict with a condition is changed.
            rows: Whether to repeat a condition for all samples for each sample.
        """
        if not isinstance(x, Mapping):
            return x
        inputs, condition = self.unpack(x, None)
        given = [value for value in keras.tree.flatten(inputs) if value is not None]
        if self.condition is None or condition is None or not given:
            return x
        if not all(hasattr(value, "shape") for value in given):
            return x
        condition = self.check_condition(inputs, condition)
        counts = [value.shape[0] for value in given if len(value.shape)]
        if rows and counts:
            condition = self.condition.with_rows(condition, counts[0])
        return {"inputs": inputs, "condition": condition}

    fit = _with_checks("fit")
    evaluate = _with_checks("evaluate")
    predict = _with_checks("predict")
    train_on_batch = _with_checks("train_on_batch")
    test_on_batch = _with_checks("test_on_batch")
    predict_on_batch = _with_checks("predict_on_batch")
