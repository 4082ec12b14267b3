"""The configuration of a hypernetwork, and what it says of the target."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_hyper.hypernetwork.arguments import is_text
from keras_hyper.saving import serialize_shared
from keras_hyper.saving.sharing import graph_mark
from keras_hyper.saving.sublayers import unquantized, with_sublayers
from keras_hyper.typing import Config

if TYPE_CHECKING:
    from keras_hyper.hypernetwork.generating_model import GeneratingModel


def configuration_of(model: "GeneratingModel") -> Config:
    """Returns the arguments to construct a `Hypernetwork` again, but those of every layer.

    Args:
        model: A `Hypernetwork`.

    Raises:
        ValueError: If `include` has types or functions, and the model is not built.
    """
    include = model.include
    if not is_text(include):
        # Types and functions are not for files; what they chose is.
        if not model.built:
            raise ValueError(
                f"Hypernetwork '{model.name}' has `include` of types or functions, and was not "
                "built: which weights that means is not known yet. Call it on inputs first."
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
        record = with_sublayers(
            {
                "paths": model.target_variables.paths(),
                "generated": list(model.generated_weights),
                **model.target_variables.frozen_paths(),
            },
            model,
        )
    return {
        # What was quantized later is quantized again once the model is built.
        "target": target if model.built and model.was_quantized else unquantized(target),
        "generator": generator,
        "condition": serialize_shared(model.condition, model, "condition"),
        "include": include,
        "composition": model.composition,
        "base_trainable": model.base_trainable,
        "state_per_task": model.state_per_task,
        "output_regularization": model.output_regularization,
        "sample_axis": model.sample_axis,
        "condition_per_weight": model.condition_per_weight,
        "share_generators": model.share_generators,
        "record": record,
        **graph_mark(model),
    }
