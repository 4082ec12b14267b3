"""Recurrent layers: a cell in a loop, with dropout masks and projections before the loop."""

import dataclasses
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
from keras import ops

from keras_hyper.ops import shared_dense
from keras_hyper.rnn.cell import Multiply, RecurrentCell, States, check_call, dropout_mask
from keras_hyper.saving.sublayers import restore_sublayers, with_sublayers
from keras_hyper.typing import Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import rate
from keras_hyper.utils.constants import warn_of_constants
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer, product_dtype

# The result of Keras's loop: the last output, all outputs and the last states.
Run = tuple[Tensor, Tensor, States]
# One step of a loop, from features and states to an output and new states.
Step = Callable[[Tensors, States], tuple[Tensor, States]]


class RecurrentLayer(PolicyLayer, keras.layers.RNN):
    """Base of the layers that run a cell of `cell_class` over a sequence.

    `**kwargs` are arguments of the cell, of `keras.layers.RNN` and of `keras.layers.Layer`.
    Keras's `implementation` is ignored.
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
        # Configurations list the frozen sublayers.
        record = kwargs.pop("record", None)
        names = [name for name in self.cell_class.argument_names if name in kwargs]
        of_cell = {name: kwargs.pop(name) for name in names}
        cell = self.cell_class(units=units, **of_cell, dtype=kwargs.get("dtype"), name="cell")
        super().__init__(cell, **kwargs)
        self._record = record
        self.dropout = rate("dropout", dropout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.use_cudnn = use_cudnn
        self._always_trains = False
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Like Keras's layers, the layer has the arguments of its cell as attributes.
        for name in cls.cell_class.argument_names:
            if name != "seed":
                setattr(cls, name, property(operator.attrgetter(f"cell.{name}")))

    def build(
        self, sequences_shape: Shape, initial_state_shape: Sequence[Shape] | None = None
    ) -> None:
        """Builds the cell for sequences with a known number of features."""
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
        """Calls the layer. Raises if it receives a condition or a list of inputs."""
        check_call(self, args, kwargs)
        warn_of_constants(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def compute_output_spec(self, *args: Tensors, **kwargs: Tensors) -> Tensors:
        """Records whether a functional model calls the layer with `training=True`."""
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
        # Keras accepts a mask for each input. The first is that of the sequences.
        mask = keras.tree.flatten(mask)[0]
        seed = self.seed_generator
        if training and self.dropout:
            shape = (ops.shape(sequences)[0], 1, sequences.shape[-1])
            sequences = sequences * dropout_mask(shape, dtype, self.dropout, seed)
        # A loop cannot draw random numbers on JAX, so draw all masks before it.
        batch, steps = ops.shape(sequences)[:2]
        drops = [
            dropout_mask((batch, steps, width), dtype, rate, seed) if training and rate else None
            for rate, width in self.cell.dropouts
        ]
        if training and not self.unroll and not self._always_trains and _can_sweep():
            return self._sweep(sequences, initial_state, drops, mask)
        multiply = _multiply(self.cell, dtype)
        # Project the inputs of all steps by one product if its gradient is needed or loops are
        # slow. In inference, a small product in each step is faster than writing and reading
        # the result of a large one.
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
        """Returns a tensor `(batch, steps, width)` for each state, in inference.

        The steps are in the order in which they are taken. `mask` is None, or Booleans of shape
        `(batch, steps)`.
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

        # The mask is a feature: Keras's loops require outputs with the shape of the first state.
        features = [sequences] if mask is None else [sequences, ops.cast(mask, dtype)[..., None]]
        _, states, _ = self._loop(step, features, initial_state, None, True)
        return list(ops.split(states, _ends(cell.state_size), axis=-1))

    def _loop(
        self, step: Step, features: States, states: States, mask: Tensor, return_sequences: bool
    ) -> Run:
        """Runs a step function in Keras's loop."""
        ends = _ends([part.shape[-1] for part in features])
        loop = keras.layers.RNN(
            _Step(step, ends, self.cell.state_size),
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
        """Returns the result of `_loop`, with the backward pass of `tensorflow_sweep`."""
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
            # A masked step repeats the output of the step before it. Before the first step that
            # is taken, outputs are zero.
            seen = ops.cumsum(ops.cast(mask, "int32"), axis=0) > 0
            outputs = ops.where(mask if self.zero_output_for_mask else seen, outputs, 0)
        last = outputs[-1]
        if not self.return_sequences:
            return last, last[:, None], states
        return last, ops.swapaxes(outputs, 0, 1), states

    def get_config(self) -> Config:
        """Returns the arguments to construct this layer again."""
        config = super().get_config()
        del config["cell"]
        of_cell = self.cell.get_config()
        for name in ("name", "trainable", "dtype"):
            del of_cell[name]
        config |= of_cell
        config |= {"dropout": self.dropout, "seed": self.seed, "use_cudnn": self.use_cudnn}
        record = with_sublayers({}, self) if self.built else self._record
        return {**config, "record": record} if record else config

    @classmethod
    def from_config(cls, config: Config, custom_objects: Mapping[str, type] | None = None) -> Self:
        """Returns a layer constructed from its configuration."""
        return cls(**config)


def _can_sweep() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    # Every eager call would trace the loops again.
    return not tf.executing_eagerly()


def _multiply(cell: RecurrentCell, dtype: str) -> Multiply:
    """Returns `RecurrentCell.multiply` with weights that are cast once, before the loop."""
    names = [*cell.input_matrices, *cell.state_matrices]
    matrices = {name: ops.cast(getattr(cell, name), dtype) for name in names}
    return lambda x, name: shared_dense(x, matrices[name])


def _ends(widths: Sequence[int]) -> list[int]:
    """Returns where to split a concatenation."""
    return list(itertools.accumulate(widths))[:-1]


@dataclasses.dataclass
class _Step:
    """A step function of several features, in the form of a cell for Keras's loop."""

    function: Step
    ends: list[int]
    state_size: Sequence[int]

    def call(self, features: Tensor, states: States) -> tuple[Tensor, States]:
        """Takes the step."""
        parts = ops.split(features, self.ends, axis=-1) if self.ends else [features]
        return self.function(parts, states)

    __call__ = call
