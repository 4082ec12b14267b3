"""Running a model with generated weights in its layers."""

import contextlib
import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import keras

from keras_hyper.application.given import Context, Given, current, giving
from keras_hyper.application.installing import Method, installed
from keras_hyper.application.mapping import call_per_sample
from keras_hyper.application.quantized import call_quantized, is_quantized
from keras_hyper.application.recurrent import loops_of
from keras_hyper.application.rematerialization import rematerialized
from keras_hyper.application.rows import folded_layers, for_rows, record_rows
from keras_hyper.application.scope import serving
from keras_hyper.application.table import application_of
from keras_hyper.kernels import Kernel
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.graph import NamedWeight, named_weights, own_weights, walk


class WeightInjection:
    """Runs a model with generated weights in the layers that hold them.

    While the model runs, `call` of these layers is a function that applies the layer with the
    weights of the current context (see `register_application`). Other layers run as usual. The
    functions are removed afterwards, also after an error. Concurrent calls share the functions,
    but each has its own context.

    Args:
        model: A built model.
        generated: The generated weights of the model.
        state: Variables of the model that calls may replace and assign to.
        seeds: Generator of the seeds of layers that are called once per sample.
    """

    def __init__(
        self,
        model: keras.Layer,
        generated: Sequence[NamedWeight],
        state: Sequence[NamedWeight],
        seeds: keras.random.SeedGenerator,
    ) -> None:
        self._model = model
        self._seeds = seeds
        self._variables: dict[int, dict[str, keras.Variable]] = {}
        # The layer that reads a weight, and the name of the weight in it, by path.
        self._places: dict[str, tuple[keras.Layer, str]] = {}
        for weight in (*generated, *state):
            # Layers of this package read variables of sublayers that they do not call.
            ours = [layer for layer in weight.layers if _is_ours(layer)]
            owner = [*ours, weight.layers[-1]][0]
            if id(owner) not in self._variables:
                named = {w.path: w.variable for w in named_weights(owner)}
                self._variables[id(owner)] = named if ours else own_weights(owner)
            names = {id(v): name for name, v in self._variables[id(owner)].items()}
            self._places[weight.path] = (owner, names[id(weight.variable)])
        self._methods = list(self._methods_of(model))
        self._folded: set[int] = set()

    def find_folded(self, inputs: Tensors, **arguments: bool) -> bool:
        """Finds layers with several rows per sample in an eager call. Returns if there are any."""
        with installed(self._methods):
            self._folded = folded_layers(functools.partial(self._model, **arguments), inputs)
        return bool(self._folded)

    def mapped(self, paths: Iterable[str]) -> list[keras.Layer]:
        """Returns the layers that are called once per sample if these weights are per-sample."""
        owners = dict.fromkeys(self._places[path][0] for path in paths)
        return [x for x in owners if application_of(x, with_lora=is_quantized(x)) is None]

    def _methods_of(self, model: keras.Layer) -> Iterator[Method]:
        for layer in walk(model):
            if id(layer) in self._variables:
                for name in ("call", "quantized_call"):
                    yield layer, name, functools.partial(_call, layer, name)
            if isinstance(layer, keras.layers.RNN) and id(layer.cell) in self._variables:
                yield from loops_of([layer])
            if any(id(child) in self._variables for child in walk(layer)):
                yield layer, "rematerialized_call", functools.partial(rematerialized, layer)

    @contextlib.contextmanager
    def weights(
        self,
        kernels: Mapping[str, Kernel],
        state: Mapping[str, Kernel],
        write: Callable[[str, Tensor], None],
        added: Collection[str] = (),
        samples: Tensor = None,
    ) -> Iterator[None]:
        """Runs a block in which the model uses the given weights.

        Args:
            kernels: The generated weights by path.
            state: Values of variables that the model may assign to, by path.
            write: Function of a path and a new value, called for each assignment to `state`.
            added: Paths of the weights that quantized layers add to their stored weights.
            samples: Number of samples, if weights are per-sample.
        """
        for owner in filter(is_quantized, {owner for owner, _ in self._places.values()}):
            # Quantization may have replaced the variables.
            self._variables[id(owner)] = own_weights(owner)
        given: dict[int, Given] = {}
        for path, kernel in {**kernels, **state}.items():
            owner, name = self._places[path]
            variable = self._variables[id(owner)][name]
            given[id(variable)] = Given(variable, path, kernel, path in state, path in added)

        def assign(variable: keras.Variable, value: Tensor) -> None:
            one = given.get(id(variable))
            if one is not None and one.state:
                write(one.path, value)
            else:
                variable.assign(value)

        outer = current()
        # Inside another injected model, the scope of that model has these values.
        rest = () if outer.given else self._model.variables
        own = [(v, v.value) for v in rest if id(v) not in given]
        context = Context(
            {**outer.given, **given},
            {**outer.variables, **self._variables},
            [*outer.methods, *self._methods],
            self._seeds,
            samples,
            {*outer.folded, *self._folded},
        )
        served = serving(self._model, given.values(), own, assign)
        with installed(self._methods), giving(context), served:
            yield


def _is_ours(layer: keras.Layer) -> bool:
    return any(cls.__module__.startswith("keras_hyper.") for cls in type(layer).__mro__)


def _call(layer: keras.Layer, method: str, *args: Tensors, **kwargs: Tensors) -> Tensors:
    """Applies a layer with its values in the current context."""
    inputs = [*args, *kwargs.values()]
    record_rows(layer, inputs)
    context, quantized = current(), method == "quantized_call"
    given = context.of(layer)
    kernels = {name: one.kernel for name, one in given.items()}
    if not given or (not quantized and all(kernel.whole for kernel in kernels.values())):
        # The scope of the model replaces the variables.
        return getattr(type(layer), method)(layer, *args, **kwargs)
    function = application_of(layer, with_lora=quantized)
    if function is not None:
        weights = for_rows(layer, kernels, inputs)
        if quantized:
            added = [name for name, one in given.items() if one.added]
            return call_quantized(layer, weights, added, function, args, kwargs)
        return function(layer, context.weights(layer, weights), *args, **kwargs)
    if quantized:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) is quantized and has generated "
            "weights, but its class has no registered application. Register one with "
            "`keras_hyper.register_application`, or do not quantize the layer."
        )
    if any(kernel.batched for kernel in kernels.values()):
        return call_per_sample(layer, args, kwargs)
    with serving(layer, [one.materialized() for one in given.values()]):
        return type(layer).call(layer, *args, **kwargs)
