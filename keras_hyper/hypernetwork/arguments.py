"""Validation and serialization of the arguments of a `Hypernetwork`."""

import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_hyper.conditions import JoinedCondition
from keras_hyper.hypernetwork.selection import Generators, items_of
from keras_hyper.saving import deserialize_shared, is_config, serialize_shared
from keras_hyper.saving.sharing import graph_mark
from keras_hyper.saving.sublayers import unquantized, with_sublayers
from keras_hyper.typing import Config
from keras_hyper.utils.checks import wrong_type
from keras_hyper.utils.graph import walk
from keras_hyper.weights import as_generator

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel

# Arguments of `Hypernetwork` that need no serialization.
_PLAIN = (
    "composition",
    "base_trainable",
    "state_per_task",
    "output_regularization",
    "sample_axis",
    "condition_per_weight",
    "share_generators",
)


def as_condition(condition: Any, owner: keras.Layer, per_weight: bool) -> JoinedCondition | None:
    """Returns the argument `condition` of a `Hypernetwork`, or its config, as one layer."""
    if condition is None:
        return None
    if isinstance(condition, JoinedCondition) or is_config(condition):
        condition = deserialize_shared(condition, owner, "condition")
    if isinstance(condition, JoinedCondition):
        return condition
    return JoinedCondition(condition, per_weight, name="condition")


def as_target(target: Any) -> keras.Layer:
    """Returns a target, or raises if its weights cannot be generated."""
    if not isinstance(target, keras.layers.Layer):
        raise wrong_type("target", target, "a Keras model or layer, whose weights are generated")
    for layer in walk(target):
        if hasattr(layer, "save_assets"):
            raise ValueError(
                f"`target` has a layer '{layer.name}' ({type(layer).__name__}) with a vocabulary, "
                "which files of a hypernetwork cannot store. Put it before the hypernetwork."
            )
    return target


def as_generators(generator: Any, owner: keras.Layer) -> Generators:
    """Returns a generator, or a dict from patterns to generators, from itself or its config."""
    if generator is None:
        return None
    if isinstance(generator, Mapping) and not is_config(generator):
        if not generator:
            raise ValueError("`generator` must not be an empty dict. Received: generator={}")
        return {
            str(pattern): as_generator(deserialize_shared(value, owner, str(pattern)))
            for pattern, value in generator.items()
        }
    return as_generator(deserialize_shared(generator, owner))


def check_combination(
    condition: JoinedCondition | None,
    generator: Generators,
    composition: str,
    state_per_task: bool,
    output_regularization: float | None,
    condition_per_weight: bool,
) -> None:
    """Raises if an argument requires or excludes another one."""
    strength = output_regularization
    if condition_per_weight and (condition is None or generator is None):
        missing = "condition" if condition is None else "generator"
        raise ValueError(
            f"`condition_per_weight=True` needs a `{missing}`. Received: {missing}=None. Pass the "
            "width of the rows as `condition`, and a generator with the same `embedding_dim`."
        )
    if condition_per_weight and condition is not None and not condition.per_weight:
        raise ValueError(
            "`condition_per_weight=True` needs a condition with a row for each weight. Received: "
            "a JoinedCondition without rows. Pass per_weight=True to it."
        )
    if condition_per_weight and strength is not None:
        raise ValueError(
            "`output_regularization` needs one condition for all weights. Received: "
            f"output_regularization={strength!r} with condition_per_weight=True"
        )
    has_mask = condition is not None and condition.has_mask
    if has_mask and state_per_task:
        raise ValueError(
            "An AdapterMask gives samples the outputs of the target, and state_per_task=True gives "
            "them the state of a task. Received: condition with an AdapterMask, and "
            "state_per_task=True. Leave one of the two out."
        )
    if has_mask and composition == "replace":
        raise ValueError(
            "An AdapterMask gives samples the weights of the target, which composition='replace' "
            "does not use. Received: composition='replace'. Use 'add', 'multiply' or 'scale'."
        )
    has_tasks = condition is not None and condition.task_embedding is not None
    if state_per_task and not has_tasks:
        raise ValueError(
            "`state_per_task=True` needs tasks. Pass condition=keras_hyper.TaskEmbedding(...), or "
            f"a list that contains one. Received: condition={condition}"
        )
    number = isinstance(strength, numbers.Real) and not isinstance(strength, bool)
    if strength is not None and (not number or not 0 <= float(strength) < math.inf):
        raise ValueError(
            "`output_regularization` must be None or a finite number of at least 0. Received: "
            f"output_regularization={strength!r}"
        )
    alone = condition is not None and has_tasks and len(condition.parts) == 1
    if strength is not None and not alone:
        raise ValueError(
            "`output_regularization` needs condition=keras_hyper.TaskEmbedding(num_tasks, dim) "
            f"without other parts. Received: condition={condition}"
        )


def configuration_of(model: "GeneratingModel") -> Config:
    """Returns the arguments to construct a `Hypernetwork` again, without those of all layers.

    Raises:
        ValueError: If `include` contains classes or functions, and the model is not built.
    """
    include = model.include
    if not all(isinstance(item, str) for item in items_of(include)):
        # Files cannot store classes and functions, but the paths that they select.
        if not model.built:
            raise ValueError(
                f"Hypernetwork '{model.name}' has `include` with classes or functions, and was not "
                "built, so the weights that they select are unknown. Call it on inputs first."
            )
        include = list(model.generated_weights)
    generator: Config | None
    if isinstance(model.generator, Mapping):
        generator = {k: serialize_shared(v, model, k) for k, v in model.generator.items()}
    else:
        generator = serialize_shared(model.generator, model)
    target = serialize_shared(model.target, model, "target")
    record = None
    if model.built:
        record = {
            "paths": model.runner.paths(),
            "generated": list(model.generated_weights),
            **model.runner.frozen_paths(),
        }
        record = with_sublayers(record, model)
    return {
        # A target that was quantized after `build` is built first and quantized again.
        "target": target if model.built and model.was_quantized else unquantized(target),
        "generator": generator,
        "condition": serialize_shared(model.condition, model, "condition"),
        "include": include,
        **{name: getattr(model, name) for name in _PLAIN},
        "record": record,
        **graph_mark(model),
    }
