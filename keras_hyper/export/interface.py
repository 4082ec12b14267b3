"""What a model takes and returns, by the names that a client uses."""

import dataclasses
import re
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork
from keras_hyper.utils.graph import walk
from keras_hyper.utils.inputs import inputs_of, named

TRIED = 16  # The length of axes of any length, where a model is tried.
_HALF = ("float16", "bfloat16")  # Not every client can read or write these.

_ENCOUNTERED = "Exception encountered when calling"

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
    specs = named(structure, "inputs")
    conditions: Specs = {}
    if isinstance(model, Hypernetwork) and model.condition is not None:
        names, values = model.condition.value_names(), model.condition.value_specs()
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
    outputs = named(outputs, "outputs", names)
    return {name: widened(x) for name, x in outputs.items() if x is not None}


def widened(value: Any) -> Any:
    """Returns half precision in single."""
    dtype = keras.backend.standardize_dtype(value.dtype)
    return ops.cast(value, "float32") if dtype in _HALF else value


def drawn(
    model: keras.Model, specs: Specs, batch: int = 2, length: int = TRIED, seed: int = 0
) -> Tensors:
    """Returns random inputs, to try a model with.

    Args:
        model: The model.
        specs: Shapes and dtypes by name.
        batch: Batch size where it is free.
        length: Size of all other axes that are free.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    layers = list(walk(model))
    tables = [getattr(x, "input_dim", None) or getattr(x, "num_tasks", None) for x in layers]
    # Ids that every table has, and that are no padding if there are enough of them.
    ids = min((n for n in tables if isinstance(n, int)), default=2)
    lookups = [layer for layer in layers if hasattr(layer, "get_vocabulary")]
    tensors: Tensors = {}
    for name, spec in specs.items():
        shape: Any = [n or (length if i else batch) for i, n in enumerate(spec.shape)]
        if spec.dtype == "string":
            known = [w for layer in lookups for w in words_of(layer) if isinstance(w, str)]
            tensors[name] = ops.convert_to_tensor(rng.choice(known or ["a", "b"], shape))
            continue
        if keras.backend.is_float_dtype(spec.dtype):
            values = rng.normal(size=shape)
        else:
            values = rng.integers(1 if ids > 2 else 0, ids, shape)
        tensors[name] = ops.convert_to_tensor(values, dtype=spec.dtype)
    return tensors


def words_of(layer: Any) -> list[Any]:
    """Returns the vocabulary of a layer."""
    return list(layer.get_vocabulary(include_special_tokens=False))


def as_arrays(tensors: Tensors) -> dict[str, np.ndarray]:
    """Returns tensors as arrays."""
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


def alike(
    model: keras.Model,
    a: np.ndarray,
    b: np.ndarray,
    spread: float | None = None,
    slack: float = 1,
) -> bool:
    """Whether two ways to compute what a model does agree, as its precision allows.

    Outputs may be large numbers that hardly differ, such as pressures. The difference
    between samples and steps must agree.

    Args:
        model: The model.
        a: Outputs.
        b: Expected outputs.
        spread: How much expected outputs differ between samples. None to take it from `b`.
        slack: Factor of the tolerance.
    """
    if a.shape != b.shape:
        return False
    if b.dtype.kind not in "fiub":
        return bool(np.array_equal(a, b))
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    policies = {layer.compute_dtype for layer in walk(model)}
    rounding = 3e-2 if policies & set(_HALF) else 1e-4
    spread = spread_of(b) if spread is None else spread
    last_digits = 16 * np.finfo("float32").eps * np.abs(b[finite]).max(initial=0)
    gap = np.abs(a[finite] - b[finite]).max(initial=0)
    return bool(gap <= slack * (rounding * spread + last_digits))


def spread_of(array: np.ndarray) -> float:
    """Returns how far numbers are from the mean over all axes but the last, at most."""
    axes = tuple(range(array.ndim - 1)) if array.ndim > 1 else None
    finite = np.where(np.isfinite(array), array, np.nan).astype("float64")
    with warnings.catch_warnings():  # Of axes without finite numbers.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(finite, axis=axes, keepdims=True)
    return float(np.nan_to_num(np.abs(finite - mean)).max(initial=0))


def reason(error: Exception) -> str:
    """Returns what an error says, in one line and without colours."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    # Keras says first where an exception was raised.
    text = next((line for line in lines if not line.startswith(_ENCOUNTERED)), "")
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _structure(model: keras.Model, input_signature: Any) -> Any:
    """Returns what the model takes, as symbolic tensors of any batch size."""
    if input_signature is not None:
        return keras.tree.map_structure(_symbolic, input_signature)
    built = model.hypernetwork if isinstance(model, HypernetworkAt) else model
    inputs = built.takes() if isinstance(built, Hypernetwork) else inputs_of(model)
    if inputs is None:
        raise ValueError(
            f"What model '{model.name}' ({type(model).__name__}) takes is not known. Pass "
            "`input_signature`, such as keras.Input((None, 64))."
        )
    return keras.tree.map_structure(_symbolic, inputs)


def _symbolic(spec: Any) -> keras.KerasTensor:
    shape = (None, *tuple(spec.shape)[1:])
    dtype = keras.backend.standardize_dtype(spec.dtype)
    dtype = "float32" if dtype in _HALF else dtype
    return keras.KerasTensor(shape, dtype=dtype, name=getattr(spec, "name", None))
