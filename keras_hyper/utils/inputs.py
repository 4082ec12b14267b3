"""The inputs of a model: symbolic tensors, shapes and names."""

import keyword
import re
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_hyper.typing import Config, Shapes, Tensor, Tensors
from keras_hyper.utils.graph import walk

# Auto-generated names of inputs.
_MADE_UP = re.compile(r"|(keras_tensor|input_layer)(_\d+)?")


def inputs_of(model: keras.Model, build_config: Config | None = None) -> Tensors | None:
    """Returns the inputs of a model as symbolic tensors, or None if they are unknown.

    Args:
        model: A model.
        build_config: Shapes and dtypes for which a subclassed model was built.
    """
    if getattr(model, "inputs", None) is not None:
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if build_config is None:
        return None
    return stand_ins(build_config["inputs_shape"], build_config["input_dtypes"])


def input_shapes(model: keras.Model) -> Shapes | None:
    """Returns the shapes of the inputs of a built functional or Sequential model."""
    inputs = inputs_of(model) if model.built else None
    return None if inputs is None else keras.tree.map_structure(lambda x: tuple(x.shape), inputs)


def stand_ins(shapes: Shapes, dtypes: Tensors) -> Tensors:
    """Returns symbolic inputs with an unknown batch size, for structures of shapes and dtypes."""
    if shapes is None:
        return None  # An optional input that was not passed.
    if isinstance(shapes, dict):
        return {k: stand_ins(v, (dtypes or {}).get(k)) for k, v in shapes.items()}
    if _has_several(shapes):
        dtypes = dtypes or [None] * len(shapes)
        return [stand_ins(s, d) for s, d in zip(shapes, dtypes, strict=True)]
    # With the batch size of its first call, a model would be built for this size alone.
    return keras.KerasTensor((None, *shapes[1:]), dtype=dtypes or keras.config.floatx())


def build_target(model: keras.Model, shapes: Shapes, dtypes: Tensors) -> None:
    """Builds a model and all of its layers by a symbolic call."""
    if model.built and all(layer.built for layer in walk(model)):
        return
    try:
        model(stand_ins(shapes, dtypes))
    except Exception as error:
        raise ValueError(
            f"The target '{model.name}' ({type(model).__name__}) cannot be built for inputs of "
            f"shape {shapes}: {type(error).__name__}: {error}"
        ) from error


def check_inputs(model: keras.Model, inputs: Tensors) -> None:
    """Raises if a functional or Sequential model cannot take inputs of these ranks.

    The model itself would raise only after its weights were generated.
    """
    structure = inputs_of(model) if model.built else None
    if structure is None or isinstance(inputs, Mapping) is not isinstance(structure, Mapping):
        return  # Keras reorders dicts by the names of the inputs.
    if isinstance(structure, Mapping):
        pairs = [(inputs.get(name), spec) for name, spec in structure.items()]
    else:
        pairs = list(zip(keras.tree.flatten(inputs), model.inputs, strict=False))
    sequential = isinstance(model, keras.Sequential)
    axes = (getattr(model.layers[0].input_spec, "axes", None) if sequential else None) or {}
    for x, spec in pairs:
        known = hasattr(x, "shape") and hasattr(spec, "shape")
        if not known or getattr(x.shape, "rank", 0) is None:
            continue
        shape, expected = tuple(x.shape), tuple(spec.shape)
        if len(shape) == len(expected):
            fits = all(shape[axis] in (size, None) for axis, size in axes.items() if size)
        else:
            # Keras adds or removes a last axis of length 1.
            one_more = abs(len(shape) - len(expected)) == 1
            fits = one_more and max(shape, expected, key=len)[-1] == 1
        if not fits:
            raise ValueError(
                f"Input '{spec.name}' is incompatible with the target '{model.name}'. Expected: a "
                f"tensor of shape {expected}. Received: a tensor of shape {shape}"
            )


def dtype_of(x: Tensor) -> str | None:
    """Returns the dtype of a tensor, an array or a number, or None for None."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return None if x is None else str(keras.backend.standardize_dtype(dtype))


def as_tuples(shapes: Shapes) -> Shapes:
    """Returns a structure in which each shape is a tuple. JSON has lists."""
    if isinstance(shapes, dict):
        return {key: as_tuples(value) for key, value in shapes.items()}
    if shapes is None or not _has_several(shapes):
        return None if shapes is None else tuple(shapes)
    return [as_tuples(shape) for shape in shapes]


def _has_several(shapes: Shapes) -> bool:
    return any(isinstance(shape, list | tuple | dict) for shape in shapes)


def clean(name: str) -> str:
    """Returns a name as a valid name of an argument."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    name = name if name[:1].isalpha() else f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def named(structure: Tensors, name: str, known: Sequence[str] = ()) -> dict[str, Tensor]:
    """Returns a dict from names to the leaves of a structure.

    Args:
        structure: Tensors, in dicts and lists.
        name: Default name for leaves without one.
        known: Names of the leaves of a list, if they have any.
    """
    pairs = keras.tree.flatten_with_path(structure)
    leaves = [leaf for _, leaf in pairs]
    known = known or [leaf.name or "" for leaf in leaves if isinstance(leaf, keras.KerasTensor)]
    if isinstance(structure, Mapping):
        names = [clean("_".join(map(str, path))) for path, _ in pairs]
    else:
        names = ["_".join([name, *map(str, path)]) for path, _ in pairs]
        if len(known) == len(names) and (name == "inputs" or len(names) > 1):
            both = zip(known, names, strict=True)
            own = [clean(given) if not _MADE_UP.fullmatch(given) else n for given, n in both]
            names = own if len(set(own)) == len(own) else names
    if len({name.lower() for name in names}) < len(names):
        raise ValueError(
            "Two inputs or outputs of the model have the same name for a client: "
            f"{sorted(names)}. In these names, characters other than a to z, digits and _ become "
            "_, and case is ignored. Rename the inputs or outputs."
        )
    return dict(zip(names, leaves, strict=True))
