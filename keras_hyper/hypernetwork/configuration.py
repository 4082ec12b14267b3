"""The configuration of a hypernetwork, with a record of its target."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_hyper.hypernetwork.selection import items_of
from keras_hyper.saving import serialize_shared
from keras_hyper.saving.sharing import graph_mark
from keras_hyper.saving.sublayers import unquantized, with_sublayers
from keras_hyper.typing import Config

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
            "paths": list(model.paths),
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
