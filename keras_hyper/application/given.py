"""What the layers of a model are given in a context, and asking for it."""

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
    """What one layer is given for a call.

    Attributes:
        variables: Dict from name to variable, all that the layer reads.
        paths: Dict from name to path in the model, for those that are replaced.
        kernels: Dict from name to the value in place of a variable.
        state: Names of those that the layer may assign to.
        added: Names of those that a quantized layer adds to its own.
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
        """Whether a value differs between samples."""
        return any(kernel.batched for kernel in self.kernels.values())

    def weights(self, dtype: str) -> dict[str, Kernel]:
        """Returns a dict from name to weight, given ones and the others of the layer."""
        own = {n: v for n, v in self.variables.items() if n not in self.kernels}
        stored = {name: Full(variable.value, batched=False) for name, variable in own.items()}
        return {name: kernel.cast(dtype) for name, kernel in {**self.kernels, **stored}.items()}

    def replace(self, kernels: Mapping[str, Kernel]) -> "Given":
        """Returns the same with other kernels in place of some."""
        return dataclasses.replace(self, kernels={**self.kernels, **kernels})

    def materialized(self) -> "Given":
        """Returns the same with all values written out."""
        return self.replace(
            {name: Full(k.materialize(), k.batched) for name, k in self.kernels.items()}
        )


@dataclasses.dataclass(frozen=True)
class Context:
    """What all layers are given.

    Attributes:
        layers: What a layer is given, by the `id` of the layer.
        methods: What must be set on layers that are called in the context.
        seeds: Draws seeds for a layer that is called once for each sample.
        samples: The number of samples.
        folded: The `id` of each layer whose inputs may have several rows for each sample.
    """

    layers: Mapping[int, Given] = dataclasses.field(default_factory=dict)
    methods: Sequence[Method] = ()
    seeds: keras.random.SeedGenerator | None = None
    samples: Tensor = None
    folded: Collection[int] = ()

    def below(self, layer: keras.Layer) -> dict[int, Given]:
        """Returns what a layer and those below it are given."""
        return {id(x): self.layers[id(x)] for x in walk(layer) if id(x) in self.layers}

    def replace(self, layers: Mapping[int, Given]) -> "Context":
        """Returns the context with other values for some layers."""
        return dataclasses.replace(self, layers={**self.layers, **layers})


_NOTHING = Context()
_context: ContextVar[Context] = ContextVar("keras_hyper_given_weights", default=_NOTHING)


def current() -> Context:
    """Returns what layers are given now."""
    return _context.get()


def given_of(layer: keras.Layer) -> Given | None:
    """Returns what a layer is given now, if anything."""
    return current().layers.get(id(layer))


@contextlib.contextmanager
def giving(context: Context) -> Iterator[None]:
    """Gives weights to layers within a block."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)
