"""A cell in a loop, with all that can be done before the loop."""

import functools
import inspect
import itertools
import operator
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.checks import rate
from keras_hyper.rnn.cell import RecurrentCell
from keras_hyper.rnn.dropout import keep


class RecurrentLayer(keras.layers.RNN):
    """Base of the layers: a cell of one class over a sequence.

    Args:
        units: Integer, width of the output.
        dropout: Fraction of the features of the inputs that is dropped, the same
            ones at every step of a sequence, as in Keras's recurrent layers.
        seed: Optional integer, for the same dropout again.
        use_cudnn: `"auto"` or False. There is no cuDNN kernel of these cells.
        **kwargs: Arguments of the cell, of `keras.layers.RNN` and of
            `keras.layers.Layer`.
    """

    cell_class: ClassVar[type[RecurrentCell]]

    def __init__(
        self,
        units: int,
        *,
        dropout: float = 0.0,
        seed: int | None = None,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        if use_cudnn not in ("auto", False):
            raise ValueError(
                f"There is no cuDNN kernel for {type(self).__name__}: `use_cudnn` must be 'auto' "
                f"or False. Received: use_cudnn={use_cudnn!r}"
            )
        names = _arguments(self.cell_class)
        of_cell = {name: kwargs.pop(name) for name in names if name in kwargs}
        cell = self.cell_class(units, **of_cell, dtype=kwargs.get("dtype"), name="cell")
        super().__init__(cell, **kwargs)
        self.dropout = rate("dropout", dropout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.use_cudnn = use_cudnn
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a layer the arguments of its cell as attributes, as Keras's layers have them."""
        super().__init_subclass__(**kwargs)
        for name in _arguments(cls.cell_class):
            if name != "seed":
                setattr(cls, name, property(operator.attrgetter(f"cell.{name}")))

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Builds the cell, for sequences of a known last axis."""
        width = sequences_shape[-1]
        if len(sequences_shape) != 3 or width is None:
            raise ValueError(
                f"Layer '{self.name}' takes sequences of shape (batch, steps, features), with "
                f"`features` known. Received: sequences of shape {tuple(sequences_shape)}"
            )
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: Any = False
    ) -> tuple[Any, Any, Any]:
        """Returns the last output, all outputs and the last states."""
        self.cell.check_states(initial_state)
        sequences = ops.cast(sequences, self.cell.compute_dtype)
        if training and self.dropout:
            sequences = sequences * self._mask(sequences[:, :1], self.dropout)
        # All that depends on the inputs alone is one product over all steps, and
        # random numbers, which a loop cannot draw on JAX, are drawn before it.
        features = [self.cell.project(sequences)]
        rates = self.cell.dropouts if training else []
        for number, width in rates:
            if number:
                features.append(self._mask(features[0][:, :, :width], number))
        ends = list(itertools.accumulate(part.shape[-1] for part in features))[:-1]

        def step(features: Any, states: Any) -> tuple[Any, Any]:
            projected, *masks = ops.split(features, ends, axis=-1) if ends else [features]
            masks = iter(masks)
            drops = [functools.partial(operator.mul, next(masks)) if n else keep for n, _ in rates]
            states = self.cell.advance(projected, states, drops)
            return states[0], states

        loop = keras.layers.RNN(
            _Step(step, self.cell),
            return_sequences=self.return_sequences,
            go_backwards=self.go_backwards,
            stateful=self.stateful,
            unroll=self.unroll,
            zero_output_for_mask=self.zero_output_for_mask,
            name="loop",
        )
        return loop.inner_loop(ops.concatenate(features, axis=-1), initial_state, mask)

    def _mask(self, like: Any, number: float) -> Any:
        return keras.random.dropout(ops.ones_like(like), number, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this layer again."""
        config = super().get_config()
        del config["cell"]
        of_cell = self.cell.get_config()
        for name in ("name", "trainable", "dtype"):
            del of_cell[name]
        ours = {"dropout": self.dropout, "seed": self.seed, "use_cudnn": self.use_cudnn}
        return {**config, **of_cell, **ours}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Returns a layer constructed from its configuration."""
        return cls(**config)


def _arguments(cell_class: type[RecurrentCell]) -> list[str]:
    names = inspect.signature(cell_class.__init__).parameters
    return [name for name in names if name not in ("self", "kwargs")]


class _Step:
    """A function of one step, as Keras's loop takes it."""

    def __init__(self, function: Any, cell: RecurrentCell) -> None:
        self.call = function
        self.state_size = cell.state_size
        self.output_size = cell.output_size

    def __call__(self, inputs: Any, states: Any) -> Any:
        """Takes the step."""
        return self.call(inputs, states)
