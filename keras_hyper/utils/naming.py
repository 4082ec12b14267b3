"""Names of inputs, outputs and weights for those who call a model by name."""

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_hyper.utils.specs import stand_ins

# What Keras calls inputs that were given no name.
_MADE_UP = re.compile(r"|(keras_tensor|input_layer)(_\d+)?")


def inputs_of(model: keras.Model, build_config: Any = None) -> Any:
    """Returns what a model takes, as symbolic tensors, or None if that is not known.

    Args:
        model: A model.
        build_config: Shapes and dtypes that a subclassed model was built for.
    """
    if getattr(model, "inputs", None) is not None:
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if build_config is None:
        return None
    return stand_ins(build_config["inputs_shape"], build_config["input_dtypes"])


def clean(name: str) -> str:
    """Returns a name that an argument of a function can have."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    name = name if name[:1].isalpha() else f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def named(structure: Any, name: str, known: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the leaves of a structure by name.

    Args:
        structure: Tensors, in dicts and lists.
        name: What one that has no name is called.
        known: Names of the leaves of a list, if they have any.
    """
    pairs = keras.tree.flatten_with_path(structure)
    leaves = [leaf for _, leaf in pairs]
    known = known or [leaf.name or "" for leaf in leaves if isinstance(leaf, keras.KerasTensor)]
    told = [clean(n) for n in known]
    if isinstance(structure, Mapping):
        names = [clean("_".join(map(str, path))) for path, _ in pairs]
    else:
        names = ["_".join([name, *map(str, path)]) for path, _ in pairs]
        if len(told) == len(names) and (name == "inputs" or len(names) > 1):
            own = [
                t if k and not _MADE_UP.fullmatch(k) else n
                for t, k, n in zip(told, known, names, strict=True)
            ]
            names = own if len(set(own)) == len(own) else names
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(
            "Two inputs or outputs of the model have the same name for a client: "
            f"{sorted(names)}. Letters besides a to z, digits and _ are written as _, and "
            "TensorFlow does not tell large letters from small ones."
        )
    return dict(zip(names, leaves, strict=True))
