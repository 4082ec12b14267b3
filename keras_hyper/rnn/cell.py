"""What the recurrent cells share: their stored weights, their states, their checks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.ops import shared_dense
from keras_hyper.rnn.dropout import drop_in_this_step
from keras_hyper.typing import Activation, Config, Shape, Tensor, Tensors
from keras_hyper.utils.checks import size
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer, product_dtype

# Several tensors, such as the states of a cell.
States = Sequence[Tensor]
Multiply = Callable[[Tensor, str], Tensor]
Fuse = Callable[..., list[Tensor]]
# The arguments of the three weights, with the modules of Keras that make and serialize them.
_SETTINGS = {
    f"{weight}_{kind}": getattr(keras, f"{kind}s")
    for kind in ("initializer", "regularizer", "constraint")
    for weight in ("kernel", "recurrent", "bias")
}


class RecurrentCell(PolicyLayer):
    """Base of the cells: `W_x`, `W_h` and `b` of all gates, side by side.

    Args:
        units: Integer, width of the output.
        activation: Activation function of the candidate.
        use_bias: Whether there is a bias.
        **kwargs: Initializers, regularizers and constraints of the three weights, named as
            in Keras's cells, and arguments of `keras.layers.Layer`. The initializers of
            `W_x` and `W_h` may be None, for `OrthogonalPerGate`. Keras's `implementation` is
            ignored.

    Attributes:
        gate_names: Names of the gates, in the order of the weights.
        main_state_names: Names of the states of the cell without a hyper cell in it.
        input_matrices: Names of the weights that inputs are multiplied with.
        copies: How many matrices are stored for each gate.
        recurrent_dropout: Fraction of the candidate that is dropped at each step.
    """

    gate_names: ClassVar[tuple[str, ...]]
    main_state_names: ClassVar[tuple[str, ...]]
    input_matrices: ClassVar[tuple[str, ...]] = ("kernel",)
    copies = 1
    recurrent_dropout = 0.0
    kernel: keras.Variable = None
    recurrent_kernel: keras.Variable = None
    bias: keras.Variable = None

    def __init__(
        self, units: int, *, activation: Activation, use_bias: bool, **kwargs: Any
    ) -> None:
        kwargs.pop("implementation", None)
        settings = {name: module.get(kwargs.pop(name)) for name, module in _SETTINGS.items()}
        super().__init__(**kwargs)
        self.units = size("units", units)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        for name in ("kernel_initializer", "recurrent_initializer"):
            settings[name] = settings[name] or OrthogonalPerGate(self.gates)
        for name, value in settings.items():
            setattr(self, name, value)

    @property
    def gates(self) -> int:
        """Number of gates."""
        return len(self.gate_names)

    @property
    def parts(self) -> dict[str, int]:
        """Widths of the cells that take a step, by how the names of their attributes start."""
        return {"": self.units}

    @property
    def state_names(self) -> list[str]:
        """Names of the states. The first one is the output."""
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
        """Rate and width of the candidates that a step drops."""
        parts = self.parts.items()
        return [(getattr(self, f"{part}recurrent_dropout"), width) for part, width in parts]

    @property
    def state_matrices(self) -> list[str]:
        """Names of the weights that states are multiplied with, in every step."""
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
        """Creates `W_x`, `W_h` and the bias. Subclasses create what they have besides.

        Args:
            width: Width of the inputs.
        """
        gates = self.gates * self.units
        self._create("kernel", "kernel", (width, self.copies * gates))
        self._create("recurrent_kernel", "recurrent", (self.units, self.copies * gates))
        if self.use_bias:
            self._create("bias", "bias", (gates,))

    def _create(self, name: str, prefix: str, shape: tuple[int, ...]) -> None:
        weight = self.add_weight(
            name=name,
            shape=shape,
            initializer=getattr(self, f"{prefix}_initializer"),
            regularizer=getattr(self, f"{prefix}_regularizer"),
            constraint=getattr(self, f"{prefix}_constraint"),
        )
        setattr(self, name, weight)

    def multiply(self, x: Tensor, name: str) -> Tensor:
        """Returns the product of `x` with the weight of a name."""
        return shared_dense(x, ops.cast(getattr(self, name), x.dtype))

    def project(self, inputs: Tensor, multiply: Multiply) -> list[Tensor]:
        """Returns all that depends on the inputs alone, for one step or for many.

        Args:
            inputs: Tensor of shape `(..., features)`, of the type of the states.
            multiply: `multiply(inputs, name)` returns the product with one of
                `input_matrices`.

        Returns:
            Tensors of shape `(..., width)`.
        """
        return [plus(multiply(inputs, "kernel"), self.bias)]

    def transition(
        self, projected: States, states: States, drops: States, multiply: Multiply, fuse: Fuse
    ) -> list[Tensor]:
        """Returns the new states: the equations of the cell, in two kinds of pieces.

        Args:
            projected: What `project` returned, for one step.
            states: The states before it.
            drops: For each of `dropouts` None, or what it is multiplied by.
            multiply: `multiply(x, name)` returns the product of `x`, one of the states
                before the step or after it, with one of `state_matrices`. Each of them
                is used exactly once.
            fuse: `fuse(function, *tensors)` returns `function(*tensors)`, new states. All
                other operations with weights are in such functions.
        """
        hidden = multiply(states[0], "recurrent_kernel")
        return fuse(self.step, *projected, hidden, *drops, *states)

    def step(
        self, inputs: Tensor, hidden: Tensor, drop: Tensor, *states: Tensor, part: str = ""
    ) -> list[Tensor]:
        """Returns new states from the products of one step.

        Args:
            inputs: Tensor of shape `(batch, gates * width)`, what the inputs contribute to
                the pre-activations of the gates.
            hidden: The same of the first state.
            drop: None, or what the candidate is multiplied by.
            *states: The states before the step.
            part: The cell that takes the step, one of the keys of `parts`.
        """
        raise NotImplementedError

    def advance(
        self, projected: States, states: States, drops: States, multiply: Multiply
    ) -> list[Tensor]:
        """Returns the new states: `transition`, written out."""
        dtype = states[0].dtype
        states = self.transition(projected, list(states), drops, multiply, _apply)
        # Keras's tanh rounds float64 to float32 on JAX, whose loops insist on one type.
        return [ops.cast(state, dtype) for state in states]

    def __call__(self, *args: Tensors, **kwargs: Tensors) -> Tensors:
        """Calls the cell, or raises if it receives a condition or a list of inputs."""
        check_call(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def call(
        self, inputs: Tensor, states: States, training: bool | None = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Returns the output and the new states."""
        self.check_states(states)
        # Integers too, as Keras's own cells take them.
        dtype = product_dtype(self.kernel, inputs, *states)
        inputs = ops.cast(inputs, dtype)
        states = [ops.cast(state, dtype) for state in states]
        drops = [
            drop_in_this_step(self, rate, width, states[0], training)
            for rate, width in self.dropouts
        ]
        states = self.advance(self.project(inputs, self.multiply), states, drops, self.multiply)
        return states[0], states

    def check_states(self, states: Tensors) -> None:
        """Raises if these are not the states of this cell."""
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
        config = {name: module.serialize(getattr(self, name)) for name, module in _SETTINGS.items()}
        config["units"] = self.units
        config["activation"] = keras.activations.serialize(self.activation)
        config["use_bias"] = self.use_bias
        return {**super().get_config(), **config}


def plus(x: Tensor, bias: Tensor) -> Tensor:
    """Returns `x + bias`, or `x` if the bias is None."""
    return x if bias is None else x + ops.cast(bias, x.dtype)


def check_call(layer: keras.Layer, args: Sequence[Tensors], kwargs: Mapping[str, Tensors]) -> None:
    """Raises if a recurrent layer is called with a condition or a list of inputs.

    Args:
        layer: A recurrent layer or cell.
        args: The positional arguments of the call.
        kwargs: The keyword arguments of the call.
    """
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


def _apply(function: Fuse, *tensors: Tensor) -> list[Tensor]:
    return function(*tensors)
