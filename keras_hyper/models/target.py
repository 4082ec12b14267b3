"""Running a Keras model with weights that it is given, for the batch or for each sample."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_hyper.graph import NamedWeight, seed_generators, walk
from keras_hyper.saving import hold

# Layers that a vectorized map is known to handle with weights of each sample's own:
# compiled and with gradients, on every backend. Others are run one sample at a time.
_VECTORIZED = (
    keras.layers.Activation,
    keras.layers.ActivityRegularization,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.BatchNormalization,
    keras.layers.Concatenate,
    keras.layers.Dense,
    keras.layers.Dot,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.EinsumDense,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.InputLayer,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.MultiHeadAttention,
    keras.layers.Multiply,
    keras.layers.PReLU,
    keras.layers.Permute,
    keras.layers.RMSNormalization,
    keras.layers.ReLU,
    keras.layers.RepeatVector,
    keras.layers.Rescaling,
    keras.layers.Reshape,
    keras.layers.Softmax,
    keras.layers.Subtract,
    keras.layers.UnitNormalization,
    keras.Sequential,
)
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


# What the innermost call of a `Target` raised itself.
_messages: ContextVar[list[str] | None] = ContextVar("keras_hyper_target_messages", default=None)


def _refused(message: str) -> ValueError:
    """Returns an error of `Target`, which its `__call__` raises again."""
    messages = _messages.get()
    if messages is not None:
        messages.append(message)
    return ValueError(message)


class Opaque:
    """Keeps a model out of the sight of its parent: untracked, uncounted, unsaved.

    Args:
        model: The model.
        places: Its weights that are replaced, by path.
        ordinary: Its other weights, by path.
        state: What it changes itself.
    """

    def __init__(
        self,
        model: keras.Model,
        places: Mapping[str, Any] | None = None,
        ordinary: Mapping[str, Any] | None = None,
        state: Sequence[Any] = (),
    ) -> None:
        self.model = model
        self.generator: Any = None
        self.places = dict(places or {})
        self.ordinary = dict(ordinary or {})
        self.state = list(state)


class _NoMask(keras.layers.Layer):
    """Refuses outputs with a mask, of which only a layer is told."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the inputs."""
        if any(m is not None for m in keras.tree.flatten(mask)):
            raise _refused(
                "Weights of each sample's own cannot be combined with outputs that carry a mask, "
                "which would be lost. End the target with a layer that uses the mask up, such as "
                "an LSTM, or pass a condition of shape (dim,)."
            )
        return inputs


class Target(keras.layers.Layer):
    """Runs a model with some of its weights replaced by values.

    It owns what the hypernetwork does not generate: the ordinary weights of the
    model, its state (moving averages), and its random generators. The model
    itself it hides, whose other weights are only places for the values.

    It computes in no precision of its own: the model's layers do, and its ordinary
    weights must reach them as they are.

    Args:
        model: The model, built.
        generated: The weights of the model that are replaced.
        ordinary: Those that are not.
        state: What the model changes itself.
        tasks: None, or a number of tasks, each of which has a state of its own.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: What the model takes.
        weights: Dict from path to tensor, of the shape of the weight, or with a
            batch axis before it: a weight for each sample.
        task: Integer tensor of shape `()` or `(batch,)`, with `tasks`.
        training: Boolean.
    """

    def __init__(
        self,
        model: keras.Model,
        generated: Sequence[NamedWeight],
        ordinary: Sequence[NamedWeight],
        state: Sequence[NamedWeight],
        tasks: int | None = None,
        **kwargs: Any,
    ) -> None:
        policy = keras.DTypePolicy(model.variable_dtype)
        super().__init__(autocast=False, dtype=policy, **kwargs)
        self.supports_masking = True
        self.ordinary: list[Any] = []
        self.state: list[Any] = []
        hold(self, "ordinary", [weight.variable for weight in ordinary])
        self.frozen = [v for v in self.ordinary if not v.trainable]
        self.seed_generators = seed_generators(model)
        seeds = {id(generator.state) for generator in self.seed_generators}
        known = seeds | {id(w.variable) for w in (*generated, *ordinary, *state)}
        others = [v for v in model.variables if id(v) not in known]
        own = [weight.variable for weight in state] + others
        places = {weight.path: weight.variable for weight in generated}
        others_by_path = {weight.path: weight.variable for weight in ordinary}
        self._hidden = Opaque(model, places, others_by_path, own)
        self.tasks = tasks
        # Tracked, so that it is saved, and updated by every trainer.
        hold(self, "state", own if tasks is None else [self._per_task(v, tasks) for v in own])
        self.no_mask = _NoMask(autocast=False, dtype=policy, name="no_mask")
        # On JAX, Keras calls a model with an unbuilt layer eagerly before every step.
        self.no_mask.build(None)
        self.sample_seeds = keras.random.SeedGenerator()
        self._state_paths = {id(weight.variable): weight.path for weight in state}
        # Looked up once, and not at every call.
        self._takes_training = _takes_training(model)
        self._vectorizes = _vectorizes(model)
        self.built = True

    def get_model(self) -> keras.Model:
        """Returns the model. A property would be saved with its parent."""
        return self._hidden.model

    def _per_task(self, variable: Any, tasks: int) -> Any:
        def start(shape: Any, dtype: Any = None) -> Any:
            return ops.stack([ops.cast(variable.value, dtype)] * tasks)

        return self.add_weight(
            name=f"{variable.name}_of_tasks",
            shape=(tasks, *variable.shape),
            dtype=variable.dtype,
            initializer=start,
            trainable=False,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer. Raises its own errors without the weights, which Keras would list."""
        messages: list[str] = []
        token = _messages.set(messages)
        try:
            return super().__call__(*args, **kwargs)
        except Exception:
            if not messages:
                raise
        finally:
            _messages.reset(token)
        raise ValueError(messages[0])

    def call(
        self,
        inputs: Any,
        weights: Mapping[str, Any],
        task: Any = None,
        training: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        """Returns the outputs of the model."""
        places = self._hidden.places
        batched = {
            path: value
            for path, value in weights.items()
            if len(value.shape) > len(places[path].shape)
        }
        shared = [(places[k], v) for k, v in weights.items() if k not in batched]
        shared += [(v, v.value) for v in self.ordinary]
        if batched:
            _check_per_sample(self.get_model(), inputs, batched, inputs_mask)
            return self._per_sample(inputs, batched, shared, task, training)
        seeds = [(g.state, g.state.value) for g in self.seed_generators]
        outputs, changed, losses = self._run(inputs, shared, self._read(task), seeds, training)
        for v, place in zip(self.state, self._hidden.state, strict=True):
            if id(place) in changed:
                self._write(v, changed[id(place)], task)
        for v in [*self.ordinary, *(v for v, _ in seeds)]:
            if id(v) in changed:
                v.assign(changed[id(v)])
        for path, place in places.items():
            if id(place) in changed:
                raise _refused(
                    f"The target assigns to its weight '{path}' when it is called, and that weight "
                    "is generated. Leave it out with `include`."
                )
        self.add_loss(losses)
        return outputs

    def _run(
        self, inputs: Any, weights: Any, state: Any, seeds: Any, training: Any
    ) -> tuple[Any, dict[int, Any], list[Any]]:
        """Returns outputs, the new values of what changed, by `id`, and losses."""
        model = self.get_model()
        arguments = {"training": training} if self._takes_training else {}
        values = [*weights, *zip(self._hidden.state, state, strict=True), *seeds]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            before = [scope.get_current_value(v) for v, _ in values]
            outputs = model(inputs, **arguments)
        after = [scope.get_current_value(v) for v, _ in values]
        pairs = zip(values, before, after, strict=True)
        changed = {id(v): new for (v, _), old, new in pairs if new is not old}
        return outputs, changed, list(scope.losses)

    def _read(self, task: Any) -> list[Any]:
        """Returns the values of the state, of a task or of one for each sample."""
        if self.tasks is None:
            return [v.value for v in self.state]
        return [ops.take(v.value, task, axis=0) for v in self.state]

    def _write(self, variable: Any, value: Any, task: Any) -> None:
        if self.tasks is not None:
            value = ops.cast(value, variable.dtype)
            here = ops.equal(ops.arange(self.tasks), ops.cast(task, "int32"))
            here = ops.reshape(here, (self.tasks, *(1,) * len(value.shape)))
            value = ops.where(here, value, variable.value)
        variable.assign(value)

    def _per_sample(self, inputs: Any, batched: Any, shared: Any, task: Any, training: Any) -> Any:
        """Returns the outputs of each sample's own model, run on a batch of one."""
        batch = ops.shape(keras.tree.flatten(batched)[0])[0]
        # No backend maps over None or sparse tensors.
        flat = keras.tree.flatten(inputs)
        dense = [ops.convert_to_tensor(x, sparse=False) for x in flat if x is not None]
        samples: dict[str, Any] = {"inputs": dense, "weights": batched}
        own_state = task is not None and self.tasks is not None and len(task.shape) == 1
        if own_state:
            samples["state"] = self._read(task)
        common = None if own_state else self._read(task)
        if self.seed_generators:
            # One mask for all samples would be no dropout: each has a seed of its own. In
            # inference, too: some call their dropout with `training=True` there.
            samples["seeds"] = keras.random.randint(
                (batch, len(self.seed_generators)), 0, 2**31 - 1, seed=self.sample_seeds
            )

        def one(sample: Any) -> Any:
            weights = [(self._hidden.places[k], v) for k, v in sample["weights"].items()]
            state = sample["state"] if own_state else common
            seeds = []
            for i, generator in enumerate(self.seed_generators):
                first = ops.cast(sample["seeds"][i], generator.state.dtype)
                seeds.append((generator.state, ops.stack([first, ops.zeros_like(first)])))
            row = iter(ops.expand_dims(x, 0) for x in sample["inputs"])
            rows = keras.tree.pack_sequence_as(
                inputs, [None if x is None else next(row) for x in flat]
            )
            try:
                outputs, changed, losses = self._run(
                    rows, [*shared, *weights], state, seeds, training
                )
            except (TypeError, ValueError) as error:
                # TensorFlow would put the code of the map around it.
                raise _refused(str(error)) from error
            self._check_unchanged(changed)
            return {
                "outputs": keras.tree.map_structure(_only_row, self.no_mask(outputs)),
                "losses": [ops.convert_to_tensor(loss) for loss in losses],
            }

        # PyTorch's vectorized map refuses random numbers, wherever they are drawn.
        drawn = bool(training) or keras.backend.backend() == "torch"
        jax = keras.backend.backend() == "jax"
        stochastic = drawn and bool(self.seed_generators) and not jax
        map_over = ops.vectorized_map if self._vectorizes and not stochastic else ops.map
        if isinstance(batch, int) and batch == 0:
            return _empty(map_over, one, samples)
        result = map_over(one, samples)
        self.add_loss([ops.mean(loss) for loss in result["losses"]])
        return result["outputs"]

    def _check_unchanged(self, changed: Mapping[int, Any]) -> None:
        seeds = {id(generator.state) for generator in self.seed_generators}
        for place in changed:
            if place not in seeds:
                named = {**self._hidden.places, **self._hidden.ordinary}
                paths = {id(v): path for path, v in named.items()} | self._state_paths
                raise _refused(
                    "Weights of each sample's own cannot be combined with state that the target "
                    f"changes when it is called, '{paths.get(place, 'a variable')}': "
                    "statistics of a batch have no meaning for one sample. Freeze the layer "
                    "(`layer.trainable = False` for a BatchNormalization), use one without state "
                    "such as LayerNormalization, or pass a condition of shape (dim,), for one set "
                    "of weights for the batch."
                )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Returns None: the model's own layers put masks on the outputs."""
        return

    def values(self, task: int | None = None) -> dict[str, Any]:
        """Returns ordinary weights and state, of a task, as arrays by path.

        Args:
            task: Integer, with `tasks`.
        """
        values = {path: ops.convert_to_numpy(v) for path, v in self._hidden.ordinary.items()}
        for v, place in zip(self.state, self._hidden.state, strict=True):
            if id(place) in self._state_paths:
                array = ops.convert_to_numpy(v)
                values[self._state_paths[id(place)]] = array if task is None else array[task]
        return values

    def frozen_paths(self) -> dict[str, list[str]]:
        """Returns which weights were frozen at construction, and which are now."""
        at_first = {id(v) for v in self.frozen}
        weights = {**self._hidden.places, **self._hidden.ordinary}
        return {
            "frozen": [path for path, v in weights.items() if id(v) in at_first],
            "frozen_now": [path for path, v in weights.items() if not v.trainable],
        }

    def freeze(self, paths: Collection[str]) -> None:
        """Makes all weights of the model trainable but some.

        Args:
            paths: The paths of those that are not.
        """
        for path, variable in {**self._hidden.places, **self._hidden.ordinary}.items():
            variable.trainable = path not in paths

    def own_values(self) -> list[Any]:
        """Returns the variables in an order that does not depend on what is frozen."""
        return [*self.ordinary, *self.state]

    def save_own_variables(self, store: Any) -> None:
        """Saves the ordinary weights and the state."""
        for i, variable in enumerate(self.own_values()):
            store[str(i)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Loads the ordinary weights and the state."""
        for i, variable in enumerate(self.own_values()):
            variable.assign(store[str(i)])
        finish_loading(self.get_model())


def _empty(map_over: Any, one: Any, samples: Any) -> Any:
    """Returns the outputs of a batch without samples, which no backend maps over."""
    stand_in = keras.tree.map_structure(
        lambda x: ops.zeros((1, *x.shape[1:]), dtype=x.dtype), samples
    )
    return keras.tree.map_structure(lambda x: x[:0], map_over(one, stand_in)["outputs"])


def finish_loading(model: keras.Model) -> None:
    """Lets layers take over what was assigned to their variables.

    `Normalization` computes with constants that it makes of its variables.
    """
    for layer in walk(model):
        if layer.built and hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _takes_training(model: keras.Model) -> bool:
    parameters = inspect.signature(model.call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def _only_row(outputs: Any) -> Any:
    if len(outputs.shape) == 0 or outputs.shape[0] not in (1, None):
        raise _refused(
            "Weights of each sample's own need a target whose outputs have a row for each sample. "
            f"Received: an output of shape {tuple(outputs.shape)} for a batch of 1."
        )
    return ops.squeeze(outputs, axis=0)


def _check_per_sample(model: keras.Model, inputs: Any, batched: Any, mask: Any) -> None:
    fixed = [x.shape[0] for x in getattr(model, "inputs", None) or [] if x.shape]
    if any(size not in (1, None) for size in fixed):
        raise _refused(
            f"The target '{model.name}' is made for batches of {fixed}, and with weights of each "
            "sample's own it is run on one sample at a time. Make it with inputs of any batch "
            "size, or pass a condition of shape (dim,)."
        )
    sizes = {x.shape[0] for x in keras.tree.flatten((inputs, batched)) if x is not None} - {None}
    if len(sizes) > 1:
        raise _refused(
            "There must be weights for each sample. Received: batch sizes of inputs and weights "
            f"of {sorted(sizes)}"
        )
    if any(m is not None for m in keras.tree.flatten(mask)):
        raise _refused(
            "Weights of each sample's own cannot be combined with inputs that carry a mask. Make "
            "the layer that masks a part of the target, or pass a condition of shape (dim,)."
        )


def _vectorizes(model: keras.Model) -> bool:
    """Whether a vectorized map handles the model, as compiled code and with gradients."""
    layers = list(walk(model))
    if keras.backend.backend() == "jax":
        # A convolution of each sample's own is slow as one, and cannot be exported.
        return not any(isinstance(layer, _CONVOLUTIONS) for layer in layers)
    attention = any(isinstance(layer, keras.layers.MultiHeadAttention) for layer in layers)
    if attention and keras.backend.backend() == "torch":
        return False  # PyTorch has no vectorized attention, and says so in a warning.
    return all(type(layer) in _VECTORIZED or _is_functional(layer) for layer in layers)


def _is_functional(layer: keras.layers.Layer) -> bool:
    # The class has no public name.
    cls = type(layer)
    return cls.__name__ == "Functional" and cls.__module__.startswith("keras.")
