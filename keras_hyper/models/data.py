"""Inputs and condition of a hypernetwork in one dict, as `fit` and the like pass them."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import keras

from keras_hyper.models.naming import inputs_of, named


class ConditionalModel(keras.Model):
    """Base of a model that takes inputs and a condition from one dict.

    The dict has the keys `"inputs"` and `"condition"`, or a key for each tensor: those
    of an exported endpoint.

    Attributes:
        condition: None, or a `JoinedCondition`.
    """

    condition: Any

    def get_target(self) -> keras.Model:
        """Returns the model that takes the inputs."""
        raise NotImplementedError

    def unpack(self, inputs: Any, condition: Any) -> tuple[Any, Any]:
        """Returns inputs and condition, taken out of a dict that has both.

        Args:
            inputs: Structure of tensors, or a dict with the condition in it.
            condition: None if it is in the dict, or if there is none.

        Raises:
            ValueError: If the dict lacks a condition, or has other keys than the inputs.
        """
        takes = self.condition is not None and self.condition.takes_values
        if not takes or condition is not None or not isinstance(inputs, Mapping):
            return inputs, condition
        rest, names = dict(inputs), self.condition.value_names()
        if "condition" in rest:
            condition = rest.pop("condition")
        elif names[0] in rest and set(names) <= set(rest):
            condition = [rest.pop(name) for name in names]
        structure = inputs_of(self.get_target(), self.get_build_config())
        if condition is None:
            raise ValueError(self._wrong_keys(inputs, structure))
        nested = keras.tree.is_nested(rest.get("inputs"))
        if set(rest) == {"inputs"} and (nested or not isinstance(structure, Mapping)):
            return rest["inputs"], condition
        if structure is None and isinstance(self.get_target(), keras.Sequential):
            raise ValueError(self._wrong_keys(inputs, structure))
        if structure is None or (isinstance(structure, Mapping) and set(rest) == set(structure)):
            return rest, condition
        flat = named(structure, "inputs")
        if set(rest) != set(flat):
            raise ValueError(self._wrong_keys(inputs, structure))
        return keras.tree.pack_sequence_as(structure, [rest[n] for n in flat]), condition

    def _wrong_keys(self, inputs: Mapping[str, Any], structure: Any) -> str:
        flat = [] if structure is None else [*named(structure, "inputs")]
        flat = [*(flat or ["inputs"]), *self.condition.value_names()]
        either = "" if flat == ["inputs", "condition"] else f", or {flat}"
        return (
            f"Hypernetwork '{self.name}' needs a `condition`: {self.condition.describe()}. "
            f"Received: a dict of inputs with the keys {sorted(inputs)}. Expected: the keys "
            f"['inputs', 'condition']{either}."
        )

    def train_step(self, *args: Any) -> Any:
        """Trains on a batch."""
        return super().train_step(*args[:-1], self._with_inputs_first(args[-1]))

    def test_step(self, *args: Any) -> Any:
        """Evaluates a batch."""
        return super().test_step(*args[:-1], self._with_inputs_first(args[-1]))

    def _with_inputs_first(self, data: Any) -> Any:
        """Returns data with the inputs before the condition.

        Keras reads the batch size from the first tensor, which may not be one task id.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        inputs, condition = self.unpack(x, None)
        if condition is None:
            return data
        x = OrderedDict(inputs=inputs, condition=condition)
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def _check_ids(self, data: Any) -> None:
        """Raises for a wrong task id in arrays: compiled code may not raise for it."""
        if isinstance(data, Mapping):
            _, condition = self.unpack(data, None)
            if condition is not None:
                self.condition.check_ids(condition)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains the model, after a check of task ids in `x`."""
        self._check_ids(x)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the model, after a check of task ids in `x`."""
        self._check_ids(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns predictions, after a check of task ids in `x`."""
        self._check_ids(x)
        return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Trains the model on a batch, after a check of task ids in `x`."""
        self._check_ids(x)
        return super().train_on_batch(x, *args, **kwargs)

    def test_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Evaluates a batch, after a check of task ids in `x`."""
        self._check_ids(x)
        return super().test_on_batch(x, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """Returns predictions for a batch, after a check of task ids in `x`."""
        self._check_ids(x)
        return super().predict_on_batch(x)
