"""The endpoints of a model, and their SavedModel."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from keras_hyper.export.endpoint import Endpoint, quiet, switched, tensorflow, with_equal_rows
from keras_hyper.export.folding import Folded
from keras_hyper.export.halves import halves_of
from keras_hyper.export.interface import (
    Function,
    Named,
    Run,
    Specs,
    Trial,
    UnavailableError,
    interface_of,
    reason,
)
from keras_hyper.export.streaming import initial_state, stream_of
from keras_hyper.export.text import text_endpoint
from keras_hyper.export.tracing import FromJax
from keras_hyper.export.trials import Call, Trials, as_arrays, unchanged
from keras_hyper.typing import FilePath, Tensors
from keras_hyper.utils.checks import check_model
from keras_hyper.utils.graph import walk
from keras_hyper.weights.scopes import override


class Endpoints:
    """The endpoints of a model. The arguments are those of `export_saved_model` and two more.

    Args:
        sharing: Whether one row of a condition, or of weights, may serve a whole batch.
        batch_size: The only batch size of the endpoints, None for any.

    Attributes:
        endpoints: Dict from name to endpoint.
        left_out: Dict from the name of a missing endpoint to the reason.
    """

    def __init__(
        self,
        model: keras.Model,
        fold: bool = True,
        streaming: bool | None = None,
        input_signature: Tensors = None,
        sharing: bool = True,
        batch_size: int | None = None,
    ) -> None:
        check_model(model)
        _check_can_export(model)
        self.endpoints: dict[str, Endpoint] = {}
        self.left_out: dict[str, str] = {}
        self._model = model
        self._sharing = sharing
        self._batch_size = batch_size
        self._tables = [layer for layer in walk(model) if hasattr(layer, "lookup_table")]
        with unchanged(model):
            folded = Folded(model) if fold else None
            self._stored = folded.kernels if folded else dict
            self._from_jax = FromJax([*model.variables, *(folded.weights if folded else ())])
            self._trials = Trials(model, interface_of(model, input_signature), batch_size)
            if self._trials.draws and keras.backend.backend() == "jax":
                raise ValueError(
                    f"Model '{model.name}' gives different outputs when it is called again, as a "
                    "model that draws random numbers does. A SavedModel made on JAX would always "
                    "give the same. Export it with the TensorFlow backend."
                )
            self._add_all(streaming)

    def _add_all(self, streaming: bool | None) -> None:
        model = f"Model '{self._model.name}'"
        self.add("serving_default", self._trials.interface)
        for factored, names in (
            (False, ("generate", "apply")),
            (True, ("generate_factored", "apply_factored")),
        ):
            with self._unless(names, f"{model} cannot be run in two halves"):
                for name, half in zip(names, halves_of(self._trials, factored), strict=False):
                    self.add(name, half)
        if streaming is False:
            return
        names = ("initial_state", "step")
        with self._unless(names, f"{model} cannot be run on single steps", bool(streaming)):
            stream = stream_of(self._trials, required=bool(streaming))
            if stream is not None:
                self.endpoints["initial_state"] = initial_state(stream.start)
                self.add("step", stream.function)

    @contextlib.contextmanager
    def _unless(self, names: Sequence[str], problem: str, required: bool = False) -> Iterator[None]:
        """Leaves out endpoints if an error is raised, and raises it if they are required."""
        try:
            yield
        except Exception as error:
            known = isinstance(error, UnavailableError)
            text = str(error) if known else f"{problem}: {reason(error)}"
            if required:
                raise UnavailableError(text) from error
            for name in names:
                self.endpoints.pop(name, None)
                self.left_out[name] = text

    def add(self, name: str, function: Function, compiled: bool = False) -> None:
        """Adds a function as an endpoint.

        Free first axes of its inputs must have equal lengths, and so must free second axes. An
        endpoint that is `compiled` by XLA shares no inputs.
        """
        inputs, shared, trials = function.inputs, function.shared, list(function.trials)
        run = with_equal_rows(self._converted(function.run, inputs), inputs)
        if shared and self._sharing and not compiled:
            single = {
                n: keras.KerasTensor(s.shape[1:] if n in shared else s.shape, dtype=s.dtype)
                for n, s in inputs.items()
            }
            run = switched(self._converted(function.run, single), run, shared)
            for given in [trial.inputs for trial in trials[:1]]:
                one = {n: given[n][:1] for n in shared}
                rows = {n: np.repeat(x, len(given[n]), axis=0) for n, x in one.items()}
                expected = self._trials.trial({**given, **rows}, function.run).outputs
                trials.append(Trial({**given, **one}, expected))
        if self._batch_size is not None:
            inputs = {
                n: keras.KerasTensor((self._batch_size, *s.shape[1:]), dtype=s.dtype)
                for n, s in inputs.items()
            }
        self.endpoints[name] = Endpoint(inputs, run, trials, compiled)

    def _converted(self, run: Run, inputs: Specs) -> Run:
        """Returns a function of TensorFlow tensors that uses folded weights."""

        def folded(tensors: Named) -> Named:
            with override(self._stored()):
                return run(tensors)

        if keras.backend.backend() == "tensorflow":
            return folded
        return self._from_jax.convert(folded, inputs, self._trials.drawn(inputs))

    def add_compiled(self) -> None:
        """Adds the model compiled by XLA, or leaves it out if XLA cannot compile it."""
        interface = self._trials.interface
        with self._unless(("serve_xla",), "XLA cannot compile this model"), unchanged(self._model):
            if any(spec.dtype == "string" for spec in interface.inputs.values()):
                raise UnavailableError("XLA has no strings, and this model takes strings.")
            self.add("serve_xla", interface, compiled=True)
            tried = [trial.inputs for trial in interface.trials]
            for arrays in tried or [as_arrays(self._trials.drawn(interface.inputs))]:
                self.endpoints["serve_xla"].call(arrays)

    def add_text(self, layer: keras.layers.Layer) -> None:
        """Adds the model with strings as inputs, which a layer converts to ids."""
        served = self.endpoints["serving_default"]
        self.endpoints["serve_text"] = text_endpoint(layer, served, self._trials)
        self._tables.append(layer)

    def check(self, name: str, call: Call | None = None) -> None:
        """Raises if an endpoint, or a converted `call`, differs from the model."""
        endpoint = self.endpoints[name]
        native = call is None and not endpoint.compiled
        self._trials.check(name, endpoint.trials, call or endpoint.call, same_seeds=native)

    def write(self, folder: FilePath, endpoints: Mapping[str, Endpoint]) -> None:
        """Writes a SavedModel with some endpoints into a folder."""
        module, signatures = tensorflow().Module(), {}
        for name, endpoint in endpoints.items():
            setattr(module, "serve" if name == "serving_default" else name, endpoint.function)
            signatures[name] = endpoint.function.get_concrete_function()
        read = [v for function in signatures.values() for v in function.variables]
        module.all_variables = list({id(v): v for v in read}.values())
        module.tables = self._tables
        with quiet():
            tensorflow().saved_model.save(module, str(folder), signatures=signatures)


def _check_can_export(model: keras.Model) -> None:
    """Raises if the backend writes no SavedModels, or the model is stateful."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise ValueError(
            "A SavedModel can be written with the TensorFlow and the JAX backend. Received: "
            f"KERAS_BACKEND={backend}. Load the model from its `.keras` file there."
        )
    for layer in walk(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"Layer '{layer.name}' keeps its states between calls (stateful=True), and all "
                "clients of a server would share them. Set stateful=False, and use the endpoints "
                "`initial_state` and `step`."
            )
