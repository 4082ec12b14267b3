"""What a model takes and returns, by the names that a client uses."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.models.at import HypernetworkAt
from keras_hyper.models.hypernetwork import Hypernetwork
from keras_hyper.models.specs import stand_ins

_HALF = ("float16", "bfloat16")  # Not every client can read or write these.

# What Keras calls inputs that were given no name.
_MADE_UP = re.compile(r"|(keras_tensor|input_layer)(_\d+)?")

Specs = dict[str, keras.KerasTensor]
Tensors = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Interface:
    """A model as a function from named tensors to named tensors.

    Attributes:
        inputs: Shapes and dtypes by name, with None for the batch axis.
        conditions: Which of them are conditions of a `Hypernetwork`.
        run: The function. It takes a dict, and returns one.
    """

    inputs: Specs
    conditions: tuple[str, ...]
    run: Callable[[Tensors], Tensors]


def interface_of(model: keras.Model, input_signature: Any = None) -> Interface:
    """Returns the interface of a model.

    Args:
        model: A built model.
        input_signature: What the model takes, as for `keras.Model.export`: a
            structure of anything with a shape and a dtype. None to read it from
            the model.

    Raises:
        ValueError: If it cannot be read from the model.
    """
    if not model.built:
        raise ValueError(
            f"Model '{model.name}' is not built, so it has no weights to export. Call it on inputs "
            "first."
        )
    structure = _structure(model, input_signature)
    specs = _named(structure, "inputs")
    conditions: Specs = {}
    if isinstance(model, Hypernetwork) and model.condition is not None:
        values = model.condition.value_specs()
        names = (
            ["condition"] if len(values) == 1 else [f"condition_{i}" for i in range(len(values))]
        )
        conditions = dict(zip(names, values, strict=True))

    def run(tensors: Tensors) -> Tensors:
        flat = [tensors[name] for name in specs]
        inputs = keras.tree.pack_sequence_as(structure, flat)
        given = [tensors[name] for name in conditions]
        kwargs: dict[str, Any] = {}
        if given:
            kwargs["condition"] = given[0] if len(given) == 1 else given
        return named_outputs(model, model(inputs, training=False, **kwargs))

    return Interface({**specs, **conditions}, tuple(conditions), run)


def named_outputs(model: keras.Model, outputs: Any) -> Tensors:
    """Returns outputs by name, in single precision where they are in half.

    Args:
        model: The model that they are of.
        outputs: What it returned.
    """
    if isinstance(outputs, Mapping):
        named = {clean(name): value for name, value in outputs.items()}
    elif isinstance(outputs, Sequence):
        names = [clean(name) for name in getattr(model, "output_names", [])]
        if len(set(names)) != len(outputs):
            names = [f"outputs_{i}" for i in range(len(outputs))]
        named = dict(zip(names, outputs, strict=True))
    else:
        named = {"outputs": outputs}
    return {name: widened(value) for name, value in named.items()}


def widened(value: Any) -> Any:
    """Returns half precision in single."""
    dtype = keras.backend.standardize_dtype(value.dtype)
    return ops.cast(value, "float32") if dtype in _HALF else value


def clean(name: str) -> str:
    """Returns a name in the letters that the names of arguments can have."""
    return re.sub(r"\W", "_", name)


def drawn(specs: Specs, lengths: Sequence[int]) -> Tensors:
    """Returns random inputs, to try a model with.

    Args:
        specs: Shapes and dtypes by name.
        lengths: Of the first axes, where they may have any.

    Raises:
        ValueError: If more axes may have any length.
    """
    rng = np.random.default_rng(0)
    tensors: Tensors = {}
    for name, spec in specs.items():
        sizes = [*lengths, *[None] * len(spec.shape)]
        shape: Any = [known or size for known, size in zip(spec.shape, sizes, strict=False)]
        if None in shape:
            raise ValueError(f"Input '{name}' has more axes of any length: {tuple(spec.shape)}.")
        # An id that every table has, and that is no padding.
        ids = not keras.backend.is_float_dtype(spec.dtype)
        values = np.ones(shape) if ids else rng.normal(size=shape)
        tensors[name] = ops.convert_to_tensor(values, dtype=spec.dtype)
    return tensors


def as_arrays(tensors: Tensors) -> dict[str, np.ndarray]:
    """Returns tensors as arrays."""
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two ways to compute the same agree, in half precision too."""
    return a.shape == b.shape and np.allclose(a, b, rtol=2e-2, atol=1e-3)


def _structure(model: keras.Model, input_signature: Any) -> Any:
    """Returns what the model takes, as symbolic tensors of any batch size."""
    if input_signature is not None:
        return keras.tree.map_structure(_symbolic, input_signature)
    built = model.hypernetwork if isinstance(model, HypernetworkAt) else model
    if isinstance(built, Hypernetwork):
        model, config = built.get_target(), built.get_build_config() or {}
        if getattr(model, "inputs", None) is None:
            return stand_ins(config["inputs_shape"], config["input_dtypes"])
    if getattr(model, "inputs", None) is None:
        raise ValueError(
            f"What model '{model.name}' ({type(model).__name__}) takes is not known. Pass "
            "`input_signature`, such as keras.Input((None, 64))."
        )
    return keras.tree.map_structure(
        _symbolic, model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    )


def _symbolic(spec: Any) -> keras.KerasTensor:
    shape = (None, *tuple(spec.shape)[1:])
    dtype = keras.backend.standardize_dtype(spec.dtype)
    dtype = "float32" if dtype in _HALF else dtype
    return keras.KerasTensor(shape, dtype=dtype, name=getattr(spec, "name", None))


def _named(structure: Any, name: str) -> Specs:
    flat = keras.tree.flatten(structure)
    if isinstance(structure, Mapping) and len(structure) == len(flat):
        # In the order in which Keras flattens a dict.
        return {clean(key): structure[key] for key in sorted(structure)}
    names = [clean(spec.name or "") for spec in flat]
    if any(_MADE_UP.fullmatch(n) for n in names) or len(set(names)) < len(names):
        names = [name] if len(flat) == 1 else [f"{name}_{i}" for i in range(len(flat))]
    return dict(zip(names, flat, strict=True))
