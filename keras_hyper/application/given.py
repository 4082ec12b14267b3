"""The values that a context gives to variables of a model."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar

import keras

from keras_hyper.application.installing import Method
from keras_hyper.kernels import Full, Kernel
from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import walk


@dataclasses.dataclass(frozen=True)
class Given:
    """The value that a variable is given for a call.

    Attributes:
        variable: The variable.
        path: Its path in the model.
        kernel: The value.
        state: Whether the model may assign to the variable.
        added: Whether a quantized layer adds the value to its stored weight.
    """

    variable: keras.Variable
    path: str
    kernel: Kernel
    state: bool
    added: bool

    def replace(self, kernel: Kernel) -> "Given":
        """Returns a copy with a different value."""
        return dataclasses.replace(self, kernel=kernel)

    def materialized(self) -> "Given":
        """Returns a copy with the value written out."""
        return self.replace(Full(self.kernel.materialize(), self.kernel.batched))


@dataclasses.dataclass(frozen=True)
class Context:
    """The values of all variables that have one.

    Attributes:
        given: Values by the `id` of the variable.
        variables: Dicts from name to variable, by the `id` of the layer that reads the variables.
        methods: Methods to install on layers that are called in this context.
        seeds: Generator of the seeds of layers that are called once per sample.
        samples: Number of samples.
        folded: The `id` of each layer whose inputs may have several rows per sample.
    """

    given: Mapping[int, Given] = dataclasses.field(default_factory=dict)
    variables: Mapping[int, Mapping[str, keras.Variable]] = dataclasses.field(default_factory=dict)
    methods: Sequence[Method] = ()
    seeds: keras.random.SeedGenerator | None = None
    samples: Tensor = None
    folded: Collection[int] = ()

    def of(self, layer: keras.Layer) -> dict[str, Given]:
        """Returns a dict from name to value, for the variables of a layer."""
        own = self.variables.get(id(layer), {})
        return {name: self.given[id(v)] for name, v in own.items() if id(v) in self.given}

    def below(self, layer: keras.Layer) -> list[Given]:
        """Returns the values of the variables of a layer and its sublayers."""
        every = [one for child in walk(layer) for one in self.of(child).values()]
        return list({id(one.variable): one for one in every}.values())

    def weights(self, layer: keras.Layer, kernels: Mapping[str, Kernel]) -> dict[str, Kernel]:
        """Returns `kernels` and the stored weights of a layer, in its compute dtype."""
        own = {n: v for n, v in self.variables[id(layer)].items() if n not in kernels}
        stored = {name: Full(variable.value, batched=False) for name, variable in own.items()}
        return {n: kernel.cast(layer.compute_dtype) for n, kernel in {**kernels, **stored}.items()}

    def replace(self, given: Iterable[Given]) -> "Context":
        """Returns a copy with different values for some variables."""
        new = {id(one.variable): one for one in given}
        return dataclasses.replace(self, given={**self.given, **new})


_NOTHING = Context()
_context: ContextVar[Context] = ContextVar("keras_hyper_given_weights", default=_NOTHING)


def current() -> Context:
    """Returns the current context."""
    return _context.get()


@contextlib.contextmanager
def giving(context: Context) -> Iterator[None]:
    """Runs a block in a context."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)
