"""What a model takes and returns, by the names that a client uses."""

import dataclasses
import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.graph import walk
from keras_hyper.models.at import HypernetworkAt
from keras_hyper.models.hypernetwork import Hypernetwork
from keras_hyper.models.specs import stand_ins

TRIED = 16  # The length of axes of any length, where a model is tried.
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
        if set(conditions) & set(specs):
            raise ValueError(
                f"Inputs of '{model.name}' are called {sorted(set(conditions) & set(specs))}, as "
                "its condition is for a client. Give them other names."
            )

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
    names = getattr(model, "output_names", ())
    named = _named(outputs, "outputs", names)
    return {name: widened(x) for name, x in named.items() if x is not None}


def widened(value: Any) -> Any:
    """Returns half precision in single."""
    dtype = keras.backend.standardize_dtype(value.dtype)
    return ops.cast(value, "float32") if dtype in _HALF else value


def clean(name: str) -> str:
    """Returns a name that an argument of a function can have."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    name = name if name[:1].isalpha() else f"x{name}"
    return f"{name}_" if keyword.iskeyword(name) or name == "self" else name


def drawn(model: keras.Model, specs: Specs) -> Tensors:
    """Returns random inputs, to try a model with.

    Args:
        model: The model.
        specs: Shapes and dtypes by name. Batches are of 2, and axes of any length of 16.

    Raises:
        TypeError: If an input is of strings.
    """
    rng = np.random.default_rng(0)
    tables = [
        getattr(x, "input_dim", None) or getattr(x, "num_tasks", None) for x in layers_of(model)
    ]
    # Ids that every table has, and that are no padding if there are enough of them.
    ids = min((n for n in tables if isinstance(n, int)), default=2)
    tensors: Tensors = {}
    for name, spec in specs.items():
        if spec.dtype == "string":
            raise TypeError(f"Input '{name}' is of strings, of which none can be made up.")
        shape: Any = [n or (TRIED if i else 2) for i, n in enumerate(spec.shape)]
        if keras.backend.is_float_dtype(spec.dtype):
            values = rng.normal(size=shape)
        else:
            values = rng.integers(1 if ids > 2 else 0, ids, shape)
        tensors[name] = ops.convert_to_tensor(values, dtype=spec.dtype)
    return tensors


def as_arrays(tensors: Tensors) -> dict[str, np.ndarray]:
    """Returns tensors as arrays."""
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


def alike(model: keras.Model, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two ways to compute what a model does agree, as its precision allows.

    Outputs may be large numbers that hardly differ, such as pressures: it is what differs
    between samples and steps that must agree.
    """
    if a.shape != b.shape:
        return False
    policies = {layer.compute_dtype for layer in layers_of(model)}
    rounding = 3e-2 if policies & set(_HALF) else 1e-4
    spread = np.abs(b - b.mean(axis=tuple(range(b.ndim - 1)), keepdims=True)).max(initial=0)
    last_digits = 16 * np.finfo("float32").eps * np.abs(b).max(initial=0)
    return bool(np.abs(a - b).max(initial=0) <= rounding * spread + last_digits)


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns all layers of a model, with those of the targets of hypernetworks."""
    layers = list(walk(model))
    targets = [layer.get_target() for layer in layers if isinstance(layer, Hypernetwork)]
    return [*layers, *(inner for target in targets for inner in walk(target))]


def reason(error: Exception) -> str:
    """Returns what an error says, in one line and without colours."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


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


def _named(structure: Any, name: str, known: Sequence[str] = ()) -> dict[str, Any]:
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
