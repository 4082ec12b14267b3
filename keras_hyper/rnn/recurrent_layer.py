"""A cell in a loop, with what is better done before the loop."""

import inspect
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
from keras import ops

from keras_hyper.ops import shared_dense
from keras_hyper.rnn.cell import Multiply, RecurrentCell, States, check_call
from keras_hyper.rnn.dropout import dropout_mask
from keras_hyper.saving.sublayers import restore_sublayers, with_sublayers
from keras_hyper.typing import Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import rate
from keras_hyper.utils.constants import warn_of_constants
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer, product_dtype

# What Keras's loop returns: the last output, all outputs and the last states.
Run = tuple[Tensor, Tensor, States]
# A step in a loop, from features and states to an output and new states.
Step = Callable[[Tensors, States], tuple[Tensor, States]]


class RecurrentLayer(PolicyLayer, keras.layers.RNN):
    """Base of the layers: a cell of one class over a sequence.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the input features that is dropped, the same ones at every
            step of a sequence.
        seed: Optional integer, random seed of the dropout.
        use_cudnn: `"auto"` or False.
        **kwargs: Arguments of the cell, of `keras.layers.RNN` and of
            `keras.layers.Layer`. Keras's `implementation` is ignored.
    """

    cell_class: ClassVar[type[RecurrentCell]]

    def __init__(
        self,
        units: int,
        *,
        dropout: float = 0.0,
        seed: int | None = None,
        use_cudnn: str | bool = "auto",
        **kwargs: Any,
    ) -> None:
        if use_cudnn not in ("auto", False):
            raise ValueError(
                f"There is no cuDNN kernel for {type(self).__name__}: `use_cudnn` must be 'auto' "
                f"or False. Received: use_cudnn={use_cudnn!r}"
            )
        kwargs.pop("implementation", None)
        # From a configuration: which sublayers are frozen.
        record = kwargs.pop("record", None)
        names = _arguments(self.cell_class)
        of_cell = {name: kwargs.pop(name) for name in names if name in kwargs}
        cell = self.cell_class(units, **of_cell, dtype=kwargs.get("dtype"), name="cell")
        super().__init__(cell, **kwargs)
        self._record = record
        self.dropout = rate("dropout", dropout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.use_cudnn = use_cudnn
        self._always_trains = False
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a layer the arguments of its cell as attributes, as Keras's layers have them."""
        super().__init_subclass__(**kwargs)
        for name in _arguments(cls.cell_class):
            if name != "seed":
                setattr(cls, name, property(operator.attrgetter(f"cell.{name}")))

    def build(
        self, sequences_shape: Shape, initial_state_shape: Sequence[Shape] | None = None
    ) -> None:
        """Builds the cell, for sequences of a known last axis."""
        width = sequences_shape[-1] if sequences_shape else None
        if len(sequences_shape) != 3 or width is None:
            raise ValueError(
                f"Layer '{self.name}' takes sequences of shape (batch, steps, features), with "
                f"`features` known. Received: sequences of shape {tuple(sequences_shape)}"
            )
        super().build(sequences_shape, initial_state_shape)
        restore_sublayers(self._record or {}, self)
        freeze_what_is_new(self)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})

    def __call__(self, *args: Tensors, **kwargs: Tensors) -> Tensors:
        """Calls the layer, or raises if it receives a condition or a list of inputs."""
        check_call(self, args, kwargs)
        warn_of_constants(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def compute_output_spec(self, *args: Tensors, **kwargs: Tensors) -> Tensors:
        """Returns the specification of the outputs, for a functional model."""
        # The functional model calls it with this value, also when it is served.
        self._always_trains = self._always_trains or bool(kwargs.get("training"))
        return super().compute_output_spec(*args, **kwargs)

    def inner_loop(
        self, sequences: Tensor, initial_state: States, mask: Tensors, training: bool | None = False
    ) -> Run:
        """Returns the last output, all outputs and the last states."""
        self.cell.check_states(initial_state)
        dtype = product_dtype(self.cell.kernel, sequences)
        sequences = ops.cast(sequences, dtype)
        initial_state = [ops.cast(state, dtype) for state in initial_state]
        # Keras takes a mask for each input; that of the sequences is the first.
        mask = keras.tree.flatten(mask)[0]
        if training and self.dropout:
            shape = (ops.shape(sequences)[0], 1, sequences.shape[-1])
            sequences = sequences * self._mask(shape, dtype, self.dropout)
        # Random numbers, which a loop cannot draw on JAX, are drawn before it.
        batch, steps = ops.shape(sequences)[:2]
        drops = [
            self._mask((batch, steps, width), dtype, number) if training and number else None
            for number, width in self.cell.dropouts
        ]
        if training and not self.unroll and not self._always_trains and _can_sweep():
            return self._sweep(sequences, initial_state, drops, mask)
        multiply = _multiply(self.cell, dtype)
        # All that depends on the inputs alone is one product over all steps where its
        # gradient is needed, or where a loop is slow. In inference, writing and reading
        # it takes longer than one small product more in each step.
        before = training or keras.backend.backend() == "torch"
        inputs = self.cell.project(sequences, multiply) if before else [sequences]

        def step(features: Tensors, states: States) -> tuple[Tensor, States]:
            projected, masks = features[: len(inputs)], iter(features[len(inputs) :])
            if not before:
                projected = self.cell.project(*projected, multiply)
            now = [None if drop is None else next(masks) for drop in drops]
            states = self.cell.advance(projected, states, now, multiply)
            return states[0], states

        features = [*inputs, *(drop for drop in drops if drop is not None)]
        return self._loop(step, features, initial_state, mask, self.return_sequences)

    def states_of(
        self, sequences: Tensor, initial_state: States | None = None, mask: Tensor = None
    ) -> list[Tensor]:
        """Returns all states after every step, in the order in which steps are taken.

        Args:
            sequences: Tensor of shape `(batch, steps, features)`.
            initial_state: None, or the states to start with.
            mask: None, or Booleans of shape `(batch, steps)`.

        Returns:
            A tensor `(batch, steps, width)` for each state.
        """
        cell, dtype = self.cell, self.cell.compute_dtype
        sequences = ops.cast(sequences, dtype)
        if initial_state is None:
            initial_state = self.get_initial_state(ops.shape(sequences)[0])
        cell.check_states(initial_state)
        multiply = _multiply(cell, dtype)

        def step(features: Tensors, states: States) -> tuple[Tensor, States]:
            inputs, *taken = features
            projected = cell.project(inputs, multiply)
            new = cell.advance(projected, states, [None for _ in cell.dropouts], multiply)
            if taken:
                new = [ops.where(taken[0] > 0, a, b) for a, b in zip(new, states, strict=True)]
            return ops.concatenate(new, axis=-1), new

        # Keras's loops take a mask only where the output has the shape of the first state.
        features = [sequences]
        if mask is not None:
            features.append(ops.cast(mask, cell.compute_dtype)[..., None])
        _, states, _ = self._loop(step, features, initial_state, None, True)
        return list(ops.split(states, _ends(cell.state_size), axis=-1))

    def _loop(
        self, step: Step, features: States, states: States, mask: Tensor, return_sequences: bool
    ) -> Run:
        """Runs a function of the features and states of one step in Keras's loop."""
        ends = _ends([part.shape[-1] for part in features])

        def split(together: Tensor, states: States) -> tuple[Tensor, States]:
            return step(ops.split(together, ends, axis=-1) if ends else [together], states)

        loop = keras.layers.RNN(
            _Step(split, self.cell),
            return_sequences=return_sequences,
            go_backwards=self.go_backwards,
            stateful=self.stateful,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
            name="loop",
        )
        last, outputs, states = loop.inner_loop(ops.concatenate(features, axis=-1), states, mask)
        return last, outputs, states

    def _sweep(self, sequences: Tensor, initial_state: States, drops: States, mask: Tensor) -> Run:
        """Returns what `_loop` returns, with the backward pass of `tensorflow_sweep`."""
        from keras_hyper.rnn.tensorflow_sweep import sweep

        def by_step(x: Tensor) -> Tensor:
            x = ops.swapaxes(x, 0, 1)
            return ops.flip(x, axis=0) if self.go_backwards else x

        drops = [None if drop is None else by_step(drop) for drop in drops]
        if mask is not None:
            mask = by_step(ops.cast(mask, "bool"))
            mask = ops.expand_dims(mask, axis=-1) if len(mask.shape) == 2 else mask
        outputs, states = sweep(self.cell, by_step(sequences), initial_state, drops, mask)
        if mask is not None:
            # A masked step repeats the output before it, of which the first has none.
            seen = ops.cumsum(ops.cast(mask, "int32"), axis=0) > 0
            outputs = ops.where(mask if self.zero_output_for_mask else seen, outputs, 0)
        last = outputs[-1]
        if not self.return_sequences:
            return last, last[:, None], states
        return last, ops.swapaxes(outputs, 0, 1), states

    def _mask(self, shape: Shape, dtype: str, number: float) -> Tensor:
        return dropout_mask(shape, dtype, number, self.seed_generator)

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        config = super().get_config()
        del config["cell"]
        of_cell = self.cell.get_config()
        for name in ("name", "trainable", "dtype"):
            del of_cell[name]
        ours = {"dropout": self.dropout, "seed": self.seed, "use_cudnn": self.use_cudnn}
        record = with_sublayers({}, self) if self.built else self._record
        return {**config, **of_cell, **ours, **({"record": record} if record else {})}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Mapping[str, type] | None = None) -> Self:
        """Returns a layer constructed from its configuration."""
        return cls(**config)


def _can_sweep() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # In an eager call, it would be traced again at every call.
    return not tf.executing_eagerly()


def _arguments(cell_class: type[RecurrentCell]) -> list[str]:
    names = inspect.signature(cell_class.__init__).parameters
    return [name for name in names if name not in ("self", "kwargs")]


def _multiply(cell: RecurrentCell, dtype: str) -> Multiply:
    """Returns what `RecurrentCell.multiply` does, with weights that are cast now, once."""
    names = [*cell.input_matrices, *cell.state_matrices]
    matrices = {name: ops.cast(getattr(cell, name), dtype) for name in names}
    return lambda x, name: shared_dense(x, matrices[name])


def _ends(widths: Sequence[int]) -> list[int]:
    """Returns where to split what is concatenated."""
    return list(itertools.accumulate(widths))[:-1]


class _Step:
    """A function of one step, as Keras's loop takes it."""

    def __init__(self, function: Step, cell: RecurrentCell) -> None:
        self.call = function
        self.state_size = cell.state_size
        self.output_size = cell.output_size

    def __call__(self, *args: Tensors) -> Tensors:
        """Takes the step."""
        return self.call(*args)
