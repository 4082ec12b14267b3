"""The endpoints of a model, and the SavedModel that has them."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_hyper.export.conversion import FromJax
from keras_hyper.export.endpoint import Endpoint, quiet, tensorflow, with_equal_rows
from keras_hyper.export.folding import Folded
from keras_hyper.export.halves import halves_of
from keras_hyper.export.interface import Named, Run, Specs, UnavailableError, interface_of, reason
from keras_hyper.export.streaming import stream_of
from keras_hyper.export.text import check_text, text_shape, text_trials
from keras_hyper.export.trials import Call, Trial, Trials, as_arrays, drawn, unchanged
from keras_hyper.typing import Tensors
from keras_hyper.utils.checks import check_model
from keras_hyper.utils.graph import walk
from keras_hyper.weights.scopes import override

if TYPE_CHECKING:
    import tensorflow as tf


class Endpoints:
    """All endpoints of a model but those for XLA and for text, which are added.

    Args:
        model: A built model.
        fold: See `export_saved_model`, as the next two.
        streaming: See there.
        input_signature: See there.
        one_for_all: Whether one row of a condition, or of weights, may serve a batch.
        batch_size: The batch size to compare endpoints with the model at, None for two.

    Attributes:
        endpoints: Dict from name to endpoint.
        left_out: Dict from the name of an endpoint that is missing to the reason.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        fold: bool = True,
        streaming: bool | None = None,
        input_signature: Tensors = None,
        one_for_all: bool = True,
        batch_size: int | None = None,
    ) -> None:
        check_model(model)
        _check_can_export(model)
        self.endpoints: dict[str, Endpoint] = {}
        self.left_out: dict[str, str] = {}
        self._model = model
        self._one_for_all = one_for_all
        self._tables = [layer for layer in walk(model) if hasattr(layer, "lookup_table")]
        with unchanged(model):
            interface = interface_of(model, input_signature)
            self._folded = Folded(model) if fold else None
            folded = self._folded.variables if self._folded else []
            self._from_jax = FromJax([*model.variables, *folded])
            self._trials = Trials(model, interface, batch_size)
            if self._trials.draws and keras.backend.backend() == "jax":
                raise ValueError(
                    f"Model '{model.name}' gives other outputs when it is called again, as one "
                    "that draws random numbers does, and a SavedModel made on JAX would not. "
                    "Export it with the TensorFlow backend."
                )
            self._add_all(streaming)

    def _add_all(self, streaming: bool | None) -> None:
        interface, whole = self._trials.interface, self._trials.whole
        self.add("serving_default", interface.inputs, interface.run, whole, interface.conditions)
        name = f"Model '{self._model.name}'"
        with self._unless(("generate", "apply"), f"{name} could not be tried in two halves"):
            halves = halves_of(self._trials)
            for half, more in zip(halves, ("", "_factored"), strict=False):
                names = list(half.weights)
                self.add(f"generate{more}", half.generate_inputs, half.generate, half.generated)
                self.add(f"apply{more}", half.apply_inputs, half.apply, half.applied, names)
        if streaming is False:
            return
        steps = ("initial_state", "step")
        with self._unless(steps, f"{name} cannot be run on single steps", bool(streaming)):
            stream = stream_of(self._trials, required=streaming)
            if stream is not None:
                self._add_initial_state(stream.start)
                self.add("step", stream.inputs, stream.step, stream.trials)

    @contextlib.contextmanager
    def _unless(self, names: Sequence[str], problem: str, required: bool = False) -> Iterator[None]:
        """Within it, an error leaves out endpoints, if these are not required."""
        before = dict(self.endpoints)
        try:
            yield
        except Exception as error:
            known = isinstance(error, UnavailableError)
            text = str(error) if known else f"{problem}: {reason(error)}"
            if required:
                raise UnavailableError(text) from error
            self.endpoints = before
            self.left_out.update(dict.fromkeys(names, text))

    def add(
        self,
        name: str,
        inputs: Specs,
        run: Run,
        trials: Sequence[Trial],
        one_for_all: Sequence[str] = (),
    ) -> None:
        """Adds an endpoint.

        Free first axes of its inputs have one length, and so have second ones. One row of the
        inputs `one_for_all` may be used for the whole batch.
        """
        rows = with_equal_rows(self._converted(run, inputs), inputs)
        endpoint = Endpoint(inputs, rows, trials)
        if one_for_all and self._one_for_all:
            single = {
                n: keras.KerasTensor(s.shape[1:] if n in one_for_all else s.shape, dtype=s.dtype)
                for n, s in inputs.items()
            }
            one_row = self._converted(run, single)
            tried = [self._trials.one_row(trial, one_for_all, run) for trial in trials[:1]]
            endpoint = Endpoint(inputs, rows, [*trials, *tried], one_row, one_for_all)
        self.endpoints[name] = endpoint

    def _converted(self, run: Run, inputs: Specs) -> Run:
        """Returns a function of TensorFlow's tensors that uses folded weights."""

        def folded(tensors: Named) -> Named:
            with override(self._folded.weights_of() if self._folded else {}):
                return run(tensors)

        if keras.backend.backend() == "tensorflow":
            return folded
        return self._from_jax.convert(folded, inputs, self._trials.drawn(inputs))

    def _add_initial_state(self, states: Mapping[str, np.ndarray]) -> None:
        """Adds an endpoint that repeats states of one row `batch_size` times."""

        def run(tensors: Named) -> Named:
            repeat, size = tensorflow().repeat, tensors["batch_size"]
            return {name: repeat(row, size, axis=0) for name, row in states.items()}

        batch_size = {"batch_size": keras.KerasTensor((), dtype="int32")}
        trials = [
            Trial(
                {"batch_size": np.array(size, "int32")},
                {name: np.repeat(row, size, axis=0) for name, row in states.items()},
            )
            for size in (2, 3)
        ]
        self.endpoints["initial_state"] = Endpoint(batch_size, run, trials)

    def add_compiled(self) -> None:
        """Adds the model again, compiled by XLA, where one row does not serve a batch.

        It is left out if XLA cannot compile it, as with tables of words.
        """
        served, trials = self.endpoints["serving_default"], self._trials.whole
        with self._unless(("serve_xla",), "XLA cannot compile this model"), unchanged(self._model):
            if any(spec.dtype == "string" for spec in served.inputs.values()):
                raise UnavailableError("XLA has no strings, which this model takes.")
            endpoint = Endpoint(served.inputs, served.run, trials, compiled=True)
            tried = [trial.inputs for trial in trials]
            for arrays in tried or [as_arrays(drawn(self._model, served.inputs))]:
                endpoint.call(arrays)
            self.endpoints["serve_xla"] = endpoint

    def add_text(self, layer: keras.layers.Layer) -> None:
        """Adds the model again, with strings that a layer makes into ids."""
        served = self.endpoints["serving_default"]
        check_text(layer, served.inputs)
        ((name, spec),) = served.inputs.items()

        def run(tensors: Named) -> Named:
            ids = tensorflow().cast(layer(tensors["text"]), spec.dtype)
            return served.run({name: tensorflow().ensure_shape(ids, spec.shape)})

        self._tables.append(layer)
        strings = {"text": keras.KerasTensor(text_shape(layer, spec), dtype="string")}
        trials = text_trials(layer, name, spec, self._trials)
        self.endpoints["serve_text"] = Endpoint(strings, run, trials)

    def for_batches(self, name: str, batch_size: int | None) -> Endpoint:
        """Returns an endpoint that takes one batch size, or any."""
        endpoint = self.endpoints[name]
        if batch_size is None:
            return endpoint
        inputs = {
            name: keras.KerasTensor((batch_size, *spec.shape[1:]), dtype=spec.dtype)
            for name, spec in endpoint.inputs.items()
        }
        return dataclasses.replace(endpoint, inputs=inputs)

    def check(self, name: str, call: Call | None = None) -> None:
        """Raises if an endpoint, or what it became in another format, differs from the model."""
        endpoint = self.endpoints[name]
        native = call is None and not endpoint.compiled
        self._trials.check(name, endpoint.trials, call or endpoint.call, same_seeds=native)

    def write(self, folder: pathlib.Path) -> None:
        """Writes the SavedModel into a folder."""
        functions = {name: endpoint.function for name, endpoint in self.endpoints.items()}
        signatures = {name: f.get_concrete_function() for name, f in functions.items()}
        module = self.module(signatures.values())
        for name, function in functions.items():
            setattr(module, "serve" if name == "serving_default" else name, function)
        with quiet():
            tensorflow().saved_model.save(module, str(folder), signatures=signatures)

    def module(self, functions: Iterable["tf.types.experimental.ConcreteFunction"]) -> "tf.Module":
        """Returns a module with all that concrete functions read."""
        module = tensorflow().Module()
        module.all_variables = list({id(v): v for f in functions for v in f.variables}.values())
        module.tables = self._tables
        return module


def _check_can_export(model: keras.Model) -> None:
    """Raises if the backend writes no SavedModels, or the model keeps states."""
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise ValueError(
            "A SavedModel can be written with the TensorFlow and the JAX backend. Received: "
            f"KERAS_BACKEND={backend}. Load the model from its `.keras` file there."
        )
    for layer in walk(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"Layer '{layer.name}' keeps its states from call to call (stateful=True), and "
                "the clients of a server would share them. Make it with stateful=False, and "
                "use the endpoints `initial_state` and `step`."
            )
