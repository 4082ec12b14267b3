"""Generated weights inside a model: the layers that have any are applied with them."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_hyper.application.installing import Method, installed
from keras_hyper.application.loops import loops_of
from keras_hyper.application.mapping import call_per_sample
from keras_hyper.application.stock import Given, all_given, call_with, given_of, giving
from keras_hyper.application.table import application_of
from keras_hyper.graph import NamedWeight, own_weights, walk
from keras_hyper.kernels import Kernel


class WeightInjection:
    """Runs a model with generated weights in the layers that hold them.

    While the model runs, each of these layers has a `call` of its own, set on the object: it
    applies the layer with the weights that this context gives (see `register_application`).
    Everything else in the model runs as always. The methods are removed at the end, also
    after an error. Calls from several threads share them, and each has its own weights.

    Args:
        model: The model, built.
        generated: Its weights that are given.
        state: Its variables that may be given, and written back.
        seeds: Draws seeds for layers that are called once for each sample.
    """

    def __init__(
        self,
        model: keras.layers.Layer,
        generated: Sequence[NamedWeight],
        state: Sequence[NamedWeight],
        seeds: keras.random.SeedGenerator,
    ) -> None:
        self._owners: dict[int, keras.layers.Layer] = {}
        self._parts: dict[int, dict[str, Any]] = {}
        self._places: dict[str, tuple[int, str]] = {}
        for weight in (*generated, *state):
            owner = weight.layers[-1]
            key = id(owner)
            if key not in self._owners:
                self._owners[key] = owner
                self._parts[key] = {
                    "variables": own_weights(owner),
                    "every": list(owner.variables),
                    "path": weight.path.rpartition("/")[0] + "/",
                }
            names = {id(v): name for name, v in self._parts[key]["variables"].items()}
            self._places[weight.path] = (key, names[id(weight.variable)])
        self._methods = self._methods_of(model)
        self._seeds = seeds

    def _methods_of(self, model: keras.layers.Layer) -> list[Method]:
        """Returns which methods of which layers are replaced, and by what."""
        methods: list[Method] = []
        for layer in walk(model):
            if id(layer) in self._owners:
                for name in ("call", "quantized_call"):
                    methods.append((layer, name, functools.partial(self._call, layer, name)))
            cell = getattr(layer, "cell", None)
            if isinstance(layer, keras.layers.RNN) and id(cell) in self._owners:
                methods += loops_of([layer])
            below = [key for key in map(id, walk(layer)) if key in self._owners]
            if below:
                rematerialized = functools.partial(_rematerialized, layer, below)
                methods.append((layer, "rematerialized_call", rematerialized))
        return methods

    @contextlib.contextmanager
    def weights(
        self, kernels: Mapping[str, Kernel], state: Mapping[str, Kernel], write: Any
    ) -> Iterator[None]:
        """Within it, the model runs with these weights.

        Args:
            kernels: The generated weights by path.
            state: Values of variables that the model may change, by path.
            write: Called with a path and a value for each change of them.
        """
        generated: dict[int, dict[str, Kernel]] = {key: {} for key in self._owners}
        values: dict[int, dict[str, Kernel]] = {key: {} for key in self._owners}
        paths: dict[tuple[int, str], str] = {}
        for parts, some in ((generated, kernels), (values, state)):
            for path, kernel in some.items():
                key, name = self._places[path]
                parts[key][name] = kernel
                paths[key, name] = path

        def write_for(key: int) -> Any:
            return lambda name, value: write(paths[key, name], value)

        given = {
            key: Given(
                **self._parts[key],
                generated=generated[key],
                state=values[key],
                write=write_for(key),
            )
            for key in self._owners
            if generated[key] or values[key]
        }
        with installed(self._methods), giving({**all_given(), **given}):
            yield

    def _call(self, layer: keras.layers.Layer, method: str, *args: Any, **kwargs: Any) -> Any:
        """Applies a layer with what it is given in this context."""
        given = given_of(layer)
        if given is None:
            return getattr(type(layer), method)(layer, *args, **kwargs)
        quantized = method == "quantized_call"
        if given.plain and not quantized:
            return call_with(layer, _values(given), args, kwargs)
        function = application_of(layer)
        if quantized and function is None:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) is quantized, and its weights are "
                "generated, which is supported for layers with a registered application only. Do "
                "not quantize it, or use `keras_hyper.register_application`."
            )
        if function is not None:
            _check_rows(layer, given, args)
            kernels = {n: k.cast(layer.compute_dtype) for n, k in given.kernels().items()}
            return function(layer, kernels, *args, **kwargs)
        if given.batched:
            return call_per_sample(layer, args, kwargs, "call", self._seeds)
        return call_with(layer, _values(given), args, kwargs)


def _values(given: Given) -> dict[str, Any]:
    return {name: kernel.materialize() for name, kernel in given.generated.items()}


def _rematerialized(layer: Any, below: Sequence[int], call: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns what `Layer.rematerialized_call` does, for a call that is given weights.

    The call runs again in the backward pass, when this context is over; and on TensorFlow
    tensors that are captured get no gradient. Weights are arguments of what is run again.
    """
    once = type(layer).rematerialized_call(layer, call, *args, **kwargs)
    given = {key: value for key, value in all_given().items() if key in below}
    if once is call or not given:
        return once
    kernels = {
        (key, kind, name): kernel
        for key, value in given.items()
        for kind in ("generated", "state")
        for name, kernel in getattr(value, kind).items()
    }
    tensors = [tensor for kernel in kernels.values() for tensor in kernel.tensors()]
    outer = all_given()

    def with_tensors(tensors: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        rest = iter(tensors)
        new = {place: kernel.with_tensors(rest) for place, kernel in kernels.items()}
        with giving({**outer, **_replaced(given, new)}):
            return call(*args, **kwargs)

    return functools.partial(keras.remat(with_tensors), tensors)


def _replaced(given: Mapping[int, Given], kernels: Mapping[Any, Kernel]) -> dict[int, Given]:
    return {
        key: dataclasses.replace(
            value,
            generated={n: kernels[key, "generated", n] for n in value.generated},
            state={n: kernels[key, "state", n] for n in value.state},
        )
        for key, value in given.items()
    }


def _check_rows(layer: keras.layers.Layer, given: Given, args: Sequence[Any]) -> None:
    """Raises if a layer's inputs have other rows than there are weights."""
    if not given.batched or not args or not hasattr(args[0], "shape"):
        return
    rows = {
        kernel.rows
        for kernel in (*given.generated.values(), *given.state.values())
        if kernel.batched
    }
    found = args[0].shape[0]
    for count in rows - {None, found}:
        if found is not None:
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}) has weights for each of {count} "
                f"samples, and is called with {found} rows, of shape {tuple(args[0].shape)}. "
                "A layer with weights for each sample needs inputs whose first axis is the batch. "
                "Leave its weights out with `include`, or pass a condition of shape (dim,)."
            )
