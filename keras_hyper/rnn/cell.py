"""Base of the recurrent cells: arguments, stored weights, states and checks."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.ops import shared_dense
from keras_hyper.typing import Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import positive_int, rate, size
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer, product_dtype

# Several tensors, such as the states of a cell.
States = Sequence[Tensor]
Multiply = Callable[[Tensor, str], Tensor]
Fuse = Callable[..., list[Tensor]]
# The modules of Keras that read and serialize arguments.
_OF_WEIGHTS = {
    f"{weight}_{kind}": getattr(keras, f"{kind}s")
    for kind in ("initializer", "regularizer", "constraint")
    for weight in ("kernel", "recurrent", "bias")
}
_MODULES = {
    **_OF_WEIGHTS,
    **dict.fromkeys(("activation", "recurrent_activation"), keras.activations),
}
# Checks of the other arguments. The rest are stored unchanged.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "units": size,
    "hyper_units": positive_int,
    "embedding_dim": positive_int,
    "recurrent_dropout": rate,
    "hyper_recurrent_dropout": rate,
}
_SWITCHES = ("use_bias", "layer_norm", "unit_forget_bias")
# Arguments of the cells with gates and a candidate.
GATED_ARGUMENTS = ("recurrent_activation", "recurrent_dropout", "seed")


class RecurrentCell(PolicyLayer):
    """Base of the cells: `W_x`, `W_h` and `b` of all gates, side by side.

    Args:
        **arguments: The arguments in `argument_names`, and arguments of `keras.layers.Layer`.
            Keras's `implementation` is ignored.

    Attributes:
        argument_names: Names of the arguments that are attributes, for `get_config`.
        gate_names: Names of the gates, in the order of the weights.
        main_state_names: Names of the states of the main cell.
        input_matrices: Names of the weights that multiply the inputs.
        copies: Number of matrices stored for each gate.
        recurrent_dropout: Fraction of the candidate that is dropped, with a new mask at each step.
            Semeniuta et al., "Recurrent Dropout without Memory Loss", 2016, drop the update of
            the memory, never the memory itself.
    """

    argument_names: ClassVar[tuple[str, ...]] = ("units", "activation", "use_bias", *_OF_WEIGHTS)
    gate_names: ClassVar[tuple[str, ...]]
    main_state_names: ClassVar[tuple[str, ...]]
    input_matrices: ClassVar[tuple[str, ...]] = ("kernel",)
    copies = 1
    recurrent_dropout = 0.0
    units: int
    bias: keras.Variable = None

    def __init__(self, **arguments: Any) -> None:
        arguments.pop("implementation", None)
        values = {name: _read(name, arguments.pop(name)) for name in self.argument_names}
        super().__init__(**arguments)
        for name in ("kernel_initializer", "recurrent_initializer"):
            values[name] = values[name] or OrthogonalPerGate(self.gates)
        for name, value in values.items():
            setattr(self, name, value)
        if "seed" in values:
            self.seed_generator = keras.random.SeedGenerator(self.seed)

    @property
    def gates(self) -> int:
        """Number of gates."""
        return len(self.gate_names)

    @property
    def parts(self) -> dict[str, int]:
        """Width of each cell that takes a step, by the prefix of its attributes."""
        return {"": self.units}

    @property
    def state_names(self) -> list[str]:
        """Names of the states. The first state is the output."""
        return [f"{part}{name}" for part in self.parts for name in self.main_state_names]

    @property
    def state_size(self) -> list[int]:
        """Width of each state."""
        return [width for width in self.parts.values() for _ in self.main_state_names]

    @property
    def output_size(self) -> int:
        """Width of the output."""
        return self.units

    @property
    def dropouts(self) -> list[tuple[float, int]]:
        """Dropout rate and width of the candidate of each part."""
        parts = self.parts.items()
        return [(getattr(self, f"{part}recurrent_dropout"), width) for part, width in parts]

    @property
    def state_matrices(self) -> list[str]:
        """Names of the weights that multiply states at every step."""
        return ["recurrent_kernel"]

    def build(self, input_shape: Shape) -> None:
        """Creates the weights for one step of known width."""
        width = input_shape[-1] if input_shape else None
        if len(input_shape) != 2 or width is None:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' takes one time step of shape (batch, "
                f"features), with `features` known, and no condition. Received: inputs of shape "
                f"{tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: width})
        self.build_parts(width)
        freeze_what_is_new(self)

    def build_parts(self, width: int) -> None:
        """Creates the weights for inputs of a width. Subclasses add theirs."""
        gates = self.gates * self.units
        shapes: dict[str, tuple[int, ...]] = {
            "kernel": (width, self.copies * gates),
            "recurrent_kernel": (self.units, self.copies * gates),
        }
        if self.use_bias:
            shapes["bias"] = (gates,)
        for name, shape in shapes.items():
            prefix = name.removesuffix("_kernel")
            kinds = ("initializer", "regularizer", "constraint")
            settings = {kind: getattr(self, f"{prefix}_{kind}") for kind in kinds}
            setattr(self, name, self.add_weight(name=name, shape=shape, **settings))

    def multiply(self, x: Tensor, name: str) -> Tensor:
        """Returns the product of `x` with the weight of a name."""
        return shared_dense(x, ops.cast(getattr(self, name), x.dtype))

    def project(self, inputs: Tensor, multiply: Multiply) -> list[Tensor]:
        """Returns tensors that depend on the inputs alone, for one step or for several.

        `multiply(inputs, name)` returns the product with one of `input_matrices`.
        """
        return [plus(multiply(inputs, "kernel"), self.bias)]

    def transition(
        self, projected: States, states: States, drops: States, multiply: Multiply, fuse: Fuse
    ) -> list[Tensor]:
        """Returns the new states.

        Args:
            projected: The result of `project` for this step.
            states: The states before the step.
            drops: The mask of the candidate, or None, for each of `dropouts`.
            multiply: `multiply(x, name)` returns the product of `x`, a state before or after the
                step, with one of `state_matrices`. Each matrix is used exactly once.
            fuse: `fuse(function, *tensors)` returns `function(*tensors)`, new states. All
                other operations with weights are in such functions.
        """
        hidden = multiply(states[0], "recurrent_kernel")
        return fuse(self.step, *projected, hidden, *drops, *states)

    def step(
        self, inputs: Tensor, hidden: Tensor, drop: Tensor, *states: Tensor, part: str = ""
    ) -> list[Tensor]:
        """Returns the new states of one of `parts` from the products of one step.

        The pre-activations of the gates are made of `inputs` and `hidden`, both of shape
        `(batch, gates * width)`. `drop` is the mask of the candidate, or None.
        """
        raise NotImplementedError

    def advance(
        self, projected: States, states: States, drops: States, multiply: Multiply
    ) -> list[Tensor]:
        """Returns the new states of `transition` without fused functions."""
        dtype = states[0].dtype
        states = self.transition(projected, list(states), drops, multiply, operator.call)
        # Keras's tanh rounds float64 to float32 on JAX, whose loops require one dtype.
        return [ops.cast(state, dtype) for state in states]

    def __call__(self, *args: Tensors, **kwargs: Tensors) -> Tensors:
        """Calls the cell. Raises if it receives a condition or a list of inputs."""
        check_call(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def call(
        self, inputs: Tensor, states: States, training: bool | None = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Returns the output and the new states."""
        self.check_states(states)
        # Keras's cells also accept integers.
        dtype = product_dtype(self.kernel, inputs, *states)
        inputs = ops.cast(inputs, dtype)
        states = [ops.cast(state, dtype) for state in states]
        drops = [
            self._drop(states[0], rate, width) if training and rate else None
            for rate, width in self.dropouts
        ]
        states = self.advance(self.project(inputs, self.multiply), states, drops, self.multiply)
        return states[0], states

    def _drop(self, state: Tensor, rate: float, width: int) -> Tensor:
        if keras.backend.backend() == "jax":
            raise NotImplementedError(
                f"{type(self).__name__} cannot draw a dropout mask at every step on JAX, because "
                "JAX's loops cannot advance a random state. Use the layer "
                f"`keras_hyper.{type(self).__name__.removesuffix('Cell')}`, which draws the masks "
                "of all steps before the loop, or set the dropout rates to 0."
            )
        return dropout_mask((ops.shape(state)[0], width), state.dtype, rate, self.seed_generator)

    def check_states(self, states: Tensors) -> None:
        """Raises if `states` do not fit this cell."""
        nested = isinstance(states, list | tuple)
        shapes = [tuple(state.shape) for state in (states if nested else (states,))]
        if not nested or [shape[1:] for shape in shapes] != [(size,) for size in self.state_size]:
            expected = ", ".join(f"(batch, {size})" for size in self.state_size)
            raise ValueError(
                f"{type(self).__name__} '{self.name}' needs {len(self.state_size)} states of "
                f"shapes {expected}. Received: {len(shapes)} of shapes "
                f"{', '.join(map(str, shapes))}. (Recurrent layers take no condition.)"
            )

    def get_initial_state(self, batch_size: Tensor = None) -> list[Tensor]:
        """Returns zeros for a batch."""
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self.state_size]

    def get_config(self) -> Config:
        """Returns the arguments to construct this cell again."""
        config: Config = super().get_config()
        for name in self.argument_names:
            value = getattr(self, name)
            module = _MODULES.get(name)
            config[name] = module.serialize(value) if module else value
        return config


def plus(x: Tensor, bias: Tensor) -> Tensor:
    """Returns `x + bias`, or `x` if the bias is None."""
    return x if bias is None else x + ops.cast(bias, x.dtype)


def dropout_mask(shape: Shape, dtype: str, rate: float, seed: keras.random.SeedGenerator) -> Tensor:
    """Returns a tensor of zeros, at the given rate, and `1 / (1 - rate)`."""
    if keras.backend.backend() != "tensorflow":
        return keras.random.dropout(ops.ones(shape, dtype=dtype), rate, seed=seed)
    import tensorflow as tf

    # XLA may repeat the key derivation of TensorFlow's default algorithm for each element, which
    # takes a hundred times as long on a CPU. A named algorithm avoids that.
    seeds = tf.cast(seed.next() % tf.int32.max, "int32")
    drawn = tf.random.stateless_uniform(shape, seeds, alg="philox")
    return tf.where(drawn < rate, tf.zeros((), dtype), tf.cast(1 / (1 - rate), dtype))


def check_call(layer: keras.Layer, args: Sequence[Tensors], kwargs: Mapping[str, Tensors]) -> None:
    """Raises if a recurrent layer or cell is called with a condition or a list of inputs."""
    takes = f"{type(layer).__name__} '{layer.name}' takes"
    no_condition = (
        "no `condition`: the weights of recurrent layers depend on the sequence alone. "
        "Concatenate the condition to the features of every step, or generate the weights of a "
        "stock layer: `keras_hyper.Hypernetwork(keras.layers.LSTM(units), condition=dim)`."
    )
    if "condition" in kwargs:
        raise TypeError(f"{takes} {no_condition}")
    inputs = args[0] if args else kwargs.get("sequences", kwargs.get("inputs"))
    if isinstance(inputs, list | tuple | dict):
        raise ValueError(
            f"{takes} one tensor as inputs, and {no_condition} Received: a "
            f"{type(inputs).__name__} of {len(inputs)}. Pass states as the second argument."
        )


def _read(name: str, value: Any) -> Any:
    if name in _MODULES:
        return _MODULES[name].get(value)
    if name in _CHECKS:
        return _CHECKS[name](name, value)
    return bool(value) if name in _SWITCHES else value
