"""The endpoints of a model, and the SavedModel that has them."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_hyper.export.dependence import live_values
from keras_hyper.export.endpoint import Endpoint, Run, tensorflow
from keras_hyper.export.folding import Folded
from keras_hyper.export.interface import Specs, Tensors, as_arrays, drawn, reason
from keras_hyper.export.text import check_text, text_shape, text_trials
from keras_hyper.export.trials import Trial, Trials, unchanged
from keras_hyper.utils.graph import walk
from keras_hyper.weights.scopes import override


class Builder:
    """Collects endpoints of a model, and writes them.

    Args:
        model: The model.
        folded: Its weights that are stored rather than generated, or None.

    Attributes:
        endpoints: By name.
        left_out: Why an endpoint is not among them, by name.

    Raises:
        ValueError: If the backend writes no SavedModels, or the model keeps states.
    """

    def __init__(self, model: keras.Model, folded: Folded | None) -> None:
        self.backend = keras.backend.backend()
        if self.backend not in ("tensorflow", "jax"):
            raise ValueError(
                "A SavedModel can be written with the TensorFlow and the JAX backend. Received: "
                f"KERAS_BACKEND={self.backend}. Load the model from its `.keras` file there."
            )
        self.folded = folded
        self.endpoints: dict[str, Endpoint] = {}
        self.left_out: dict[str, str] = {}
        self._model = model
        self._trials: Any = None
        self._serve: Any = None  # What was added first: the model itself.
        self._tables = [layer for layer in walk(model) if hasattr(layer, "lookup_table")]
        self._variables = [*model.variables, *(folded.variables if folded else [])]
        self._copies: dict[int, Any] = {}  # TensorFlow's, of variables of JAX.
        for layer in walk(model):
            if getattr(layer, "stateful", False):
                raise ValueError(
                    f"Layer '{layer.name}' keeps its states from call to call (stateful=True), and "
                    "the clients of a server would share them. Make it with stateful=False, and "
                    "use the endpoints `initial_state` and `step`."
                )

    def try_with(self, trials: Trials) -> None:
        """Sets what the endpoints are compared with.

        Args:
            trials: Inputs and outputs of the model.

        Raises:
            ValueError: If the model is random and the backend cannot export that.
        """
        self._trials = trials
        if trials.draws and self.backend == "jax":
            raise ValueError(
                f"Model '{self._model.name}' gives other outputs when it is called again, as one "
                "that draws random numbers does, and a SavedModel made on JAX would not. Export "
                "it with the TensorFlow backend."
            )

    def add(
        self,
        name: str,
        inputs: Specs,
        run: Run,
        trials: Sequence[Trial],
        one_for_all: Sequence[str] = (),
    ) -> None:
        """Adds an endpoint.

        Args:
            name: Its name.
            inputs: What it takes. Axes without a length may have any; all first axes
                have the same, and so have the second ones.
            run: From a dict of tensors of the model's backend to another.
            trials: Inputs and expected outputs.
            one_for_all: Inputs of which one row is used for the whole batch.
        """
        run = self._with_folded(run)
        in_tensorflow = _with_equal_rows(self._converted(run, inputs), inputs)
        self._serve = self._serve or in_tensorflow
        if one_for_all:
            single = {
                n: keras.KerasTensor(s.shape[1:] if n in one_for_all else s.shape, dtype=s.dtype)
                for n, s in inputs.items()
            }
            one = self._converted(run, single)
            in_tensorflow = _switched(one, in_tensorflow, one_for_all)
        self.endpoints[name] = Endpoint(inputs, in_tensorflow, trials=trials)

    def add_initial_state(self, states: Mapping[str, Any]) -> None:
        """Adds an endpoint with the states that `batch_size` sequences start with.

        Args:
            states: Arrays of one row, by name.
        """

        def run(tensors: Tensors) -> Tensors:
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
        self.endpoints["initial_state"] = Endpoint(batch_size, run, trials=trials)

    def add_compiled(self) -> None:
        """Adds the model again, compiled by XLA, where one row does not serve a batch.

        It is left out if XLA cannot compile it, as with tables of words.
        """
        inputs = self.endpoints["serving_default"].inputs
        if any(spec.dtype == "string" for spec in inputs.values()):
            self.left_out["serve_xla"] = "XLA has no strings, which this model takes."
            return
        trials = self._trials.whole
        endpoint = Endpoint(inputs, self._serve, compiled=True, trials=trials)
        inputs_tried = [trial.inputs for trial in trials]
        try:
            with unchanged(self._model):
                for arrays in inputs_tried or [as_arrays(drawn(self._model, inputs))]:
                    endpoint.call(arrays)
        except Exception as error:
            self.left_out["serve_xla"] = f"XLA cannot compile this model: {reason(error)}"
            return
        self.endpoints["serve_xla"] = endpoint

    def add_text(self, layer: keras.layers.Layer) -> None:
        """Adds the model again, with strings that a layer makes into ids.

        Args:
            layer: A layer from strings to ids.
        """
        inputs = self.endpoints["serving_default"].inputs
        check_text(layer, inputs)
        name, spec = next(iter(inputs.items()))

        def run(tensors: Tensors) -> Tensors:
            ids = tensorflow().cast(layer(tensors["text"]), spec.dtype)
            return self._serve({name: tensorflow().ensure_shape(ids, spec.shape)})

        self._tables.append(layer)
        strings = {"text": keras.KerasTensor(text_shape(layer, spec), dtype="string")}
        trials = text_trials(layer, name, spec, self._trials)
        self.endpoints["serve_text"] = Endpoint(strings, run, trials=trials)

    def check(self, name: str, call: Any = None) -> None:
        """Raises if an endpoint gives something else than the model.

        Args:
            name: Name of the endpoint.
            call: What it became in another format, from arrays to outputs by name.
        """
        endpoint = self.endpoints[name]
        native = call is None and not endpoint.compiled
        self._trials.check(name, endpoint.trials, call or endpoint.call, same_seeds=native)

    def leave_out(self, names: Sequence[str], error: Exception) -> None:
        """Notes why there are no such endpoints."""
        self.left_out.update(dict.fromkeys(names, str(error)))

    def write(self, folder: Any) -> None:
        """Writes the SavedModel.

        Args:
            folder: Where to.
        """
        functions = {name: endpoint.function for name, endpoint in self.endpoints.items()}
        signatures = {name: f.get_concrete_function() for name, f in functions.items()}
        module = self.module(signatures.values())
        for name, function in functions.items():
            setattr(module, "serve" if name == "serving_default" else name, function)
        with quiet():
            tensorflow().saved_model.save(module, str(folder), signatures=signatures)

    def module(self, functions: Iterable[Any]) -> Any:
        """Returns a module with all that concrete functions read."""
        module = tensorflow().Module()
        module.all_variables = list({id(v): v for f in functions for v in f.variables}.values())
        module.tables = self._tables
        return module

    def _with_folded(self, run: Run) -> Run:
        def folded(tensors: Tensors) -> Tensors:
            with override(self.folded.weights_of() if self.folded else {}):
                return run(tensors)

        return folded

    def _converted(self, run: Run, inputs: Specs) -> Run:
        """Returns a function of TensorFlow's tensors."""
        if self.backend == "tensorflow":
            return run
        from jax.experimental import jax2tf

        variables = self._read_by(run, inputs)
        shapes = {name: _polymorphic(spec.shape) for name, spec in inputs.items()}
        converted = jax2tf.convert(
            _pure(run, variables), polymorphic_shapes=[None, shapes], with_gradient=False
        )
        for v in variables:
            if id(v) not in self._copies:
                self._copies[id(v)] = tensorflow().Variable(keras.ops.convert_to_numpy(v))
        copies = [self._copies[id(v)] for v in variables]
        return lambda tensors: converted(copies, tensors)

    def _read_by(self, run: Run, inputs: Specs) -> list[Any]:
        """Returns the variables that a function looks at. The others need not be stored."""
        import jax

        values, pure = [v.value for v in self._variables], _pure(run, self._variables)
        size = next(iter(self._trials.sizes), ())
        program = jax.make_jaxpr(pure)(values, drawn(self._model, inputs, *size)).jaxpr
        read = live_values(program)
        places = program.invars[: len(values)]
        return [v for v, x in zip(self._variables, places, strict=True) if id(x) in read]


def _pure(run: Run, variables: Sequence[Any]) -> Callable[[Any, Tensors], Tensors]:
    """Returns a function that takes the values of variables, too."""

    def pure(values: Any, tensors: Tensors) -> Tensors:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return run(tensors)

    return pure


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences TensorFlow's log of temporary paths."""
    log = logging.getLogger("tensorflow")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _with_equal_rows(run: Run, inputs: Specs) -> Run:
    """Returns a function that fails where its inputs have not equally many rows."""
    batched = [name for name, spec in inputs.items() if spec.shape and spec.shape[0] is None]

    def checked(tensors: Tensors) -> Tensors:
        tf = tensorflow()
        count = tf.shape(tensors[batched[0]])[0] if batched else None
        # Not an assertion, which XLA leaves out: a shape that cannot be.
        same = {
            name: tf.reshape(tensors[name], tf.concat([[count], tf.shape(tensors[name])[1:]], 0))
            for name in batched[1:]
        }
        same = {name: tf.ensure_shape(x, inputs[name].shape) for name, x in same.items()}
        return run({**tensors, **same})

    return checked


def _switched(one: Run, rows: Run, names: Sequence[str]) -> Run:
    """Returns a function that takes one row of some inputs for the whole batch."""

    def run(tensors: Tensors) -> Tensors:
        tf = tensorflow()
        counts = tf.stack([tf.shape(tensors[name])[0] for name in names])
        return tf.cond(
            tf.reduce_all(tf.equal(counts, 1)),
            lambda: one({**tensors, **{name: tensors[name][0] for name in names}}),
            lambda: rows(tensors),
        )

    return run


def _polymorphic(shape: Sequence[int | None]) -> str:
    letters = ("b", "t", "u", "v", "w")
    sizes = [letters[i] if n is None else str(n) for i, n in enumerate(shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
