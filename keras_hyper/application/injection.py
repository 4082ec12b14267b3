"""Generated weights inside a model: the layers that have any are applied with them."""

import contextlib
import functools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_hyper.application.installing import Method, installed
from keras_hyper.application.loops import loops_of
from keras_hyper.application.mapping import call_per_sample
from keras_hyper.application.quantized import call_quantized, is_quantized
from keras_hyper.application.rematerialization import rematerialized
from keras_hyper.application.rows import folded_layers, for_rows, record_rows
from keras_hyper.application.serving import ServingScope
from keras_hyper.application.stock import Given, all_given, call_with, given_of, giving
from keras_hyper.application.table import application_of
from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.graph import NamedWeight, named_weights, own_weights, walk


class WeightInjection:
    """Runs a model with generated weights in the layers that hold them.

    While the model runs, `call` is set on each of these layers: it applies the layer with the
    weights that this context gives (see `register_application`).
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
            owner, variables = _reader(weight)
            key = id(owner)
            if key not in self._owners:
                self._owners[key] = owner
                self._parts[key] = {
                    "variables": variables,
                    "every": list(owner.variables),
                    "path": weight.path.rpartition("/")[0] + "/",
                    "installed": self._installed,
                    "seeds": seeds,
                }
            names = {id(v): name for name, v in self._parts[key]["variables"].items()}
            self._places[weight.path] = (key, names[id(weight.variable)])
        self._methods = self._methods_of(model)
        self._model = model
        self._folded: set[int] = set()

    def find_folded(self, inputs: Tensors) -> bool:
        """Tests which layers have several rows for each sample, and returns whether any have.

        Args:
            inputs: What the model takes, in an eager call.
        """
        with installed(self._methods):
            self._folded = folded_layers(self._model, inputs)
        return bool(self._folded)

    def mapped(self, paths: Iterable[str]) -> list[keras.Layer]:
        """Returns the layers with some weights that are called once for each sample.

        Args:
            paths: The paths of the weights, if they are generated for each sample.
        """
        keys = dict.fromkeys(self._places[path][0] for path in paths)
        return [self._owners[key] for key in keys if application_of(self._owners[key]) is None]

    def _installed(self) -> contextlib.AbstractContextManager[None]:
        return installed(self._methods)

    def _methods_of(self, model: keras.layers.Layer) -> list[Method]:
        """Returns the methods to set: layers, names of methods, and functions."""
        methods: list[Method] = []
        for layer in walk(model):
            if id(layer) in self._owners:
                for name in ("call", "quantized_call"):
                    methods.append((layer, name, functools.partial(_call, layer, name)))
            cell = getattr(layer, "cell", None)
            if isinstance(layer, keras.layers.RNN) and id(cell) in self._owners:
                methods += loops_of([layer])
            if any(id(child) in self._owners for child in walk(layer)):
                again = functools.partial(rematerialized, layer)
                methods.append((layer, "rematerialized_call", again))
        return methods

    @contextlib.contextmanager
    def weights(
        self,
        kernels: Mapping[str, Kernel],
        state: Mapping[str, Kernel],
        write: Any,
        added: Collection[str] = (),
        owner: keras.layers.Layer | None = None,
        variables: Sequence[keras.Variable] = (),
        samples: Tensor = None,
    ) -> Iterator[None]:
        """Within it, the model runs with these weights.

        Args:
            kernels: The generated weights by path.
            state: Values of variables that the model may change, by path.
            write: Called with a path and a value for each change of them.
            added: Paths of weights that are added to those of quantized layers.
            owner: The layer that gets the losses of the model, if variables are served.
            variables: All variables of `owner`, to serve generated weights to all readers.
            samples: The number of samples, each of which has a weight.
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
                **self._parts_of(key),
                added={name for (k, name), path in paths.items() if k == key and path in added},
                generated=generated[key],
                state=values[key],
                write=write_for(key),
                samples=samples,
                folded=self._folded,
            )
            for key in self._owners
            if generated[key] or values[key]
        }
        with installed(self._methods), giving({**all_given(), **given}):
            if owner is None:
                yield
                return
            served = {
                id(self._variable(path)): (path, kernel)
                for path, kernel in kernels.items()
                if path not in added
            }
            scope = ServingScope(variables, served)
            with scope:
                yield
        scope.commit()
        owner.add_loss(scope.losses)

    def _variable(self, path: str) -> keras.Variable:
        key, name = self._places[path]
        variable: keras.Variable = self._parts[key]["variables"][name]
        return variable

    def _parts_of(self, key: int) -> dict[str, Any]:
        """Returns what is known of a layer, which has other variables once it is quantized."""
        owner, parts = self._owners[key], self._parts[key]
        if is_quantized(owner):
            parts |= {"variables": own_weights(owner), "every": list(owner.variables)}
        return parts


def _reader(weight: NamedWeight) -> tuple[keras.layers.Layer, dict[str, keras.Variable]]:
    """Returns the layer whose call reads a weight, and the weights that it reads, by name.

    Layers with generated weights read those of their sublayers, which are not called.
    """
    for layer in weight.layers:
        if any(cls.__module__.startswith("keras_hyper.") for cls in type(layer).__mro__):
            return layer, {w.path: w.variable for w in named_weights(layer)}
    return weight.layers[-1], own_weights(weight.layers[-1])


def _call(layer: keras.layers.Layer, method: str, *args: Any, **kwargs: Any) -> Any:
    """Applies a layer with what it is given in this context."""
    record_rows(layer, [*args, *kwargs.values()])
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
    if function is not None and quantized:
        given = for_rows(layer, given, [*args, *kwargs.values()])
        return call_quantized(layer, given, function, args, kwargs)
    if function is not None:
        given = for_rows(layer, given, [*args, *kwargs.values()])
        kernels = {n: k.cast(layer.compute_dtype) for n, k in given.kernels().items()}
        return function(layer, kernels, *args, **kwargs)
    if given.batched:
        return call_per_sample(layer, args, kwargs, "call", given.seeds)
    return call_with(layer, _values(given), args, kwargs)


def _values(given: Given) -> dict[str, Any]:
    return {name: kernel.materialize() for name, kernel in given.generated.items()}
