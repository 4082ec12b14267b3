"""What a model takes and returns, by the names that a client uses."""

import dataclasses
import re
from collections.abc import Callable

import keras
from keras import ops

from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.inputs import inputs_of, named

HALF = ("float16", "bfloat16")  # Not every client can read or write these.

Specs = dict[str, keras.KerasTensor]
Named = dict[str, Tensor]
Run = Callable[[Named], Named]


class UnavailableError(ValueError):
    """Says why a model does not have an endpoint."""


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
    run: Run


def interface_of(model: keras.Model, input_signature: Tensors = None) -> Interface:
    """Returns the interface of a model, or raises if it cannot be read from the model.

    Args:
        model: A built model.
        input_signature: What the model takes, as for `keras.Model.export`, or None.
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

    def run(tensors: Named) -> Named:
        flat = [tensors[name] for name in specs]
        inputs = keras.tree.pack_sequence_as(structure, flat)
        given = [tensors[name] for name in conditions]
        kwargs = {"condition": given[0] if len(given) == 1 else given} if given else {}
        outputs = model(inputs, training=False, **kwargs)
        outputs = named(outputs, "outputs", getattr(model, "output_names", ()))
        return {name: widened(x) for name, x in outputs.items() if x is not None}

    return Interface({**specs, **conditions}, tuple(conditions), run)


def widened(value: Tensor) -> Tensor:
    """Returns half precision in single."""
    dtype = keras.backend.standardize_dtype(value.dtype)
    return ops.cast(value, "float32") if dtype in HALF else value


def batch_of(shape: tuple[int | None, ...], dtype: str) -> keras.KerasTensor:
    """Returns the specification of any number of rows."""
    return keras.KerasTensor((None, *shape), dtype=dtype)


def reason(error: Exception | None) -> str:
    """Returns what an error says, in one line and without colors."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    # Keras says first where an exception was raised.
    where = "Exception encountered when calling"
    text = next((line for line in lines if not line.startswith(where)), "")
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _structure(model: keras.Model, input_signature: Tensors) -> Tensors:
    """Returns what the model takes, as symbolic tensors of any batch size."""
    inputs = input_signature
    if inputs is None:
        built = model.hypernetwork if isinstance(model, HypernetworkAt) else model
        inputs = built.takes() if isinstance(built, Hypernetwork) else inputs_of(model)
    if inputs is None:
        raise ValueError(
            f"What model '{model.name}' ({type(model).__name__}) takes is not known. Pass "
            "`input_signature`, such as keras.Input((None, 64))."
        )
    return keras.tree.map_structure(_symbolic, inputs)


def _symbolic(spec: Tensor) -> keras.KerasTensor:
    shape = (None, *tuple(spec.shape)[1:])
    dtype = keras.backend.standardize_dtype(spec.dtype)
    dtype = "float32" if dtype in HALF else dtype
    return keras.KerasTensor(shape, dtype=dtype, name=getattr(spec, "name", None))
