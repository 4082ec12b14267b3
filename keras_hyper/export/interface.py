"""Models and parts of models as functions with named inputs and outputs."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from keras_hyper.hypernetwork.at import HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork
from keras_hyper.typing import DType, Shape, Tensor, Tensors
from keras_hyper.utils.checks import check_built
from keras_hyper.utils.inputs import inputs_of, named

HALF = ("float16", "bfloat16")  # Some clients cannot read or write these.

Arrays = Mapping[str, np.ndarray]
Named = dict[str, Tensor]
Run = Callable[[Named], Named]
Specs = dict[str, keras.KerasTensor]


class UnavailableError(ValueError):
    """Raised if a model cannot have an endpoint."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """Random inputs of a function, and the expected outputs."""

    inputs: Arrays
    outputs: Arrays


@dataclasses.dataclass(frozen=True)
class Function:
    """A function with named inputs and outputs, before it becomes an endpoint.

    Attributes:
        inputs: Dict from name to shape and dtype. The batch axis has the size None.
        run: Maps a dict of tensors to a dict of tensors.
        shared: Names of the inputs that may have one row for the whole batch.
        trials: Inputs to compare the endpoint with, and the expected outputs.
    """

    inputs: Specs
    run: Run
    shared: Sequence[str] = ()
    trials: Sequence[Trial] = ()


def interface_of(model: keras.Model, input_signature: Tensors = None) -> Function:
    """Returns a model as a function. The condition of a `Hypernetwork` may be shared."""
    check_built(model)
    structure = _structure(model, input_signature)
    specs = named(structure, "inputs")
    conditions: Specs = {}
    if isinstance(model, Hypernetwork) and model.condition is not None:
        names, values = model.condition.value_names(), model.condition.value_specs()
        conditions = dict(zip(names, values, strict=True))
        if both := sorted(set(conditions) & set(specs)):
            raise ValueError(
                f"Inputs of '{model.name}' have the same names as its condition: {both}. Give them "
                "other names."
            )

    def run(tensors: Named) -> Named:
        inputs = keras.tree.pack_sequence_as(structure, [tensors[name] for name in specs])
        given = [tensors[name] for name in conditions]
        kwargs = {"condition": given[0] if len(given) == 1 else given} if given else {}
        outputs = model(inputs, training=False, **kwargs)
        outputs = named(outputs, "outputs", getattr(model, "output_names", ()))
        return {name: widened(x) for name, x in outputs.items() if x is not None}

    return Function({**specs, **conditions}, run, tuple(conditions))


def widened(value: Tensor) -> Tensor:
    """Returns a tensor of half precision in single precision, and any other unchanged."""
    dtype = keras.backend.standardize_dtype(value.dtype)
    return ops.cast(value, "float32") if dtype in HALF else value


def batch_of(shape: Shape, dtype: DType) -> keras.KerasTensor:
    """Returns the specification of a batch of any size."""
    return keras.KerasTensor((None, *shape), dtype=keras.backend.standardize_dtype(dtype))


def reason(error: Exception | None) -> str:
    """Returns the message of an error in one line, without colors."""
    lines = [line for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines() if line.strip()]
    # Keras writes first where an exception was raised.
    where = "Exception encountered when calling"
    text = next((line for line in lines if not line.startswith(where)), "")
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _structure(model: keras.Model, input_signature: Tensors) -> Tensors:
    """Returns the inputs of a model as symbolic tensors of any batch size."""
    inputs = input_signature
    if inputs is None:
        built = model.hypernetwork if isinstance(model, HypernetworkAt) else model
        inputs = built.takes() if isinstance(built, Hypernetwork) else inputs_of(model)
    if inputs is None:
        raise ValueError(
            f"The inputs of model '{model.name}' ({type(model).__name__}) are unknown. Pass "
            "`input_signature`, such as keras.Input((None, 64))."
        )
    return keras.tree.map_structure(_symbolic, inputs)


def _symbolic(spec: Tensor) -> keras.KerasTensor:
    dtype = keras.backend.standardize_dtype(spec.dtype)
    dtype = "float32" if dtype in HALF else dtype
    shape = (None, *tuple(spec.shape)[1:])
    return keras.KerasTensor(shape, dtype=dtype, name=getattr(spec, "name", None))
