"""The values that a context gives to the layers of a model, in place of their variables."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar

import keras

from keras_hyper.application.installing import Method
from keras_hyper.kernels import Full, Kernel
from keras_hyper.typing import Tensor
from keras_hyper.utils.graph import walk


@dataclasses.dataclass(frozen=True)
class Given:
    """The values that one layer is given for a call.

    Attributes:
        variables: Dict from name to variable, all that the layer reads.
        paths: Dict from name to path in the model, for the replaced variables.
        kernels: Dict from name to value, for the replaced variables.
        state: Names of the replaced variables that the layer may assign to.
        added: Names of the values that a quantized layer adds to its stored weights.
    """

    variables: Mapping[str, keras.Variable]
    paths: Mapping[str, str]
    kernels: Mapping[str, Kernel]
    state: Collection[str] = ()
    added: Collection[str] = ()

    @property
    def whole(self) -> bool:
        """Whether all values are tensors of the shapes of the variables."""
        return all(kernel.whole for kernel in self.kernels.values())

    @property
    def batched(self) -> bool:
        """Whether any value differs between samples."""
        return any(kernel.batched for kernel in self.kernels.values())

    def weights(self, dtype: str) -> dict[str, Kernel]:
        """Returns all weights of the layer, given or stored, in a dtype."""
        own = {n: v for n, v in self.variables.items() if n not in self.kernels}
        stored = {name: Full(variable.value, batched=False) for name, variable in own.items()}
        return {name: kernel.cast(dtype) for name, kernel in {**self.kernels, **stored}.items()}

    def replace(self, kernels: Mapping[str, Kernel]) -> "Given":
        """Returns a copy with different values for some names."""
        return dataclasses.replace(self, kernels={**self.kernels, **kernels})

    def materialized(self) -> "Given":
        """Returns a copy with all values written out."""
        return self.replace({n: Full(k.materialize(), k.batched) for n, k in self.kernels.items()})


@dataclasses.dataclass(frozen=True)
class Context:
    """The values that all layers are given.

    Attributes:
        layers: Values of layers, by the `id` of the layer.
        methods: Methods to install on layers that are called in this context.
        seeds: Generator of the seeds of layers that are called once per sample.
        samples: Number of samples.
        folded: The `id` of each layer whose inputs may have several rows per sample.
    """

    layers: Mapping[int, Given] = dataclasses.field(default_factory=dict)
    methods: Sequence[Method] = ()
    seeds: keras.random.SeedGenerator | None = None
    samples: Tensor = None
    folded: Collection[int] = ()

    def below(self, layer: keras.Layer) -> dict[int, Given]:
        """Returns the values of a layer and its sublayers."""
        return {id(x): self.layers[id(x)] for x in walk(layer) if id(x) in self.layers}

    def replace(self, layers: Mapping[int, Given]) -> "Context":
        """Returns a copy with different values for some layers."""
        return dataclasses.replace(self, layers={**self.layers, **layers})


_NOTHING = Context()
_context: ContextVar[Context] = ContextVar("keras_hyper_given_weights", default=_NOTHING)


def current() -> Context:
    """Returns the current context."""
    return _context.get()


def given_of(layer: keras.Layer) -> Given | None:
    """Returns the values of a layer in the current context, if any."""
    return current().layers.get(id(layer))


@contextlib.contextmanager
def giving(context: Context) -> Iterator[None]:
    """Runs a block in a context."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)
