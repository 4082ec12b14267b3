"""What the recurrent cells share: their stored weights, their states, their checks."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.ops import shared_dense
from keras_hyper.rnn.dropout import drop_in_this_step
from keras_hyper.utils.checks import size
from keras_hyper.utils.precision import PolicyLayer, product_dtype

Multiply = Callable[[Any, str], Any]
Fuse = Callable[..., list[Any]]


class RecurrentCell(PolicyLayer):
    """Base of the cells: `W_x`, `W_h` and `b` of all gates, side by side.

    Args:
        units: Integer, width of the output.
        activation: Activation function of the candidate.
        use_bias: Whether there is a bias.
        kernel_initializer: Initializer of `W_x`. None for `OrthogonalPerGate`.
        recurrent_initializer: Initializer of `W_h`. None for `OrthogonalPerGate`.
        bias_initializer: Initializer of the bias.
        kernel_regularizer: Regularizer of `W_x`.
        recurrent_regularizer: Regularizer of `W_h`.
        bias_regularizer: Regularizer of the bias.
        kernel_constraint: Constraint of `W_x`.
        recurrent_constraint: Constraint of `W_h`.
        bias_constraint: Constraint of the bias.
        **kwargs: Arguments of `keras.layers.Layer`. Keras's `implementation` is ignored.

    Attributes:
        gates: How many gates there are.
        gate_names: Names of the gates, in the order of the weights.
        main_state_names: Names of the states of the cell without a hyper cell in it.
        copies: How many matrices are stored for each gate.
        state_size: Width of each state. The first one is the output.
        output_size: Width of the output.
    """

    gates: ClassVar[int]
    gate_names: ClassVar[tuple[str, ...]]
    main_state_names: ClassVar[tuple[str, ...]]

    @property
    def state_names(self) -> list[str]:
        """Names of the states. The first one is the output."""
        return list(self.main_state_names)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = None,
        recurrent_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("implementation", None)
        super().__init__(**kwargs)
        self.units = size("units", units)
        self.activation = keras.activations.get(activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = self._initializer(kernel_initializer)
        self.recurrent_initializer = self._initializer(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.kernel: Any = None
        self.recurrent_kernel: Any = None
        self.bias: Any = None
        self.copies = 1
        self.state_size = [self.units]
        self.output_size = self.units

    def _initializer(self, initializer: Any) -> Any:
        return keras.initializers.get(initializer) or OrthogonalPerGate(self.gates)

    def build_weights(self, input_shape: Sequence[int | None]) -> int:
        """Creates `W_x`, `W_h` and the bias, and returns the width of the inputs."""
        width = input_shape[-1] if input_shape else None
        if len(input_shape) != 2 or width is None:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' takes one time step of shape (batch, "
                f"features), with `features` known, and no condition. Received: inputs of shape "
                f"{tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: width})
        gates = self.gates * self.units
        self.kernel = self.add_weight(
            shape=(width, self.copies * gates),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, self.copies * gates),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(gates,),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        return width

    @property
    def dropouts(self) -> list[tuple[float, int]]:
        """Rate and width of each thing that a step drops."""
        return []

    @property
    def input_matrices(self) -> list[str]:
        """Names of the weights that inputs are multiplied with."""
        return ["kernel"]

    @property
    def state_matrices(self) -> list[str]:
        """Names of the weights that states are multiplied with, in every step."""
        return ["recurrent_kernel"]

    def multiply(self, x: Any, name: str) -> Any:
        """Returns the product of `x` with the weight of a name."""
        return shared_dense(x, ops.cast(getattr(self, name), x.dtype))

    def project(self, inputs: Any, multiply: Multiply) -> list[Any]:
        """Returns all that depends on the inputs alone, for one step or for many.

        Args:
            inputs: Tensor of shape `(..., features)`, of the type of the states.
            multiply: `multiply(inputs, name)` returns the product with one of
                `input_matrices`.

        Returns:
            Tensors of shape `(..., width)`.
        """
        raise NotImplementedError

    def transition(
        self,
        projected: Sequence[Any],
        states: Sequence[Any],
        drops: Sequence[Any],
        multiply: Multiply,
        fuse: Fuse,
    ) -> list[Any]:
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
        raise NotImplementedError

    def advance(
        self,
        projected: Sequence[Any],
        states: Sequence[Any],
        drops: Sequence[Any],
        multiply: Multiply,
    ) -> list[Any]:
        """Returns the new states: `transition`, written out."""
        dtype = states[0].dtype
        states = self.transition(projected, list(states), drops, multiply, _apply)
        # Keras's tanh rounds float64 to float32 on JAX, whose loops insist on one type.
        return [ops.cast(state, dtype) for state in states]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the cell, or raises if it receives a condition or a list of inputs."""
        check_call(self, args, kwargs)
        return super().__call__(*args, **kwargs)

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
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

    def check_states(self, states: Any) -> None:
        """Raises if these are not the states of this cell."""
        nested = isinstance(states, list | tuple)
        shapes = [tuple(state.shape) for state in (states if nested else [states])]
        if not nested or [shape[1:] for shape in shapes] != [(size,) for size in self.state_size]:
            expected = ", ".join(f"(batch, {size})" for size in self.state_size)
            raise ValueError(
                f"{type(self).__name__} '{self.name}' needs {len(self.state_size)} states of "
                f"shapes {expected}. Received: {len(shapes)} of shapes "
                f"{', '.join(map(str, shapes))}. (Recurrent layers take no condition.)"
            )

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Returns zeros for a batch."""
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self.state_size]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this cell again."""
        serializers = {
            "initializer": keras.initializers.serialize,
            "regularizer": keras.regularizers.serialize,
            "constraint": keras.constraints.serialize,
        }
        config = {
            f"{weight}_{kind}": serialize(getattr(self, f"{weight}_{kind}"))
            for kind, serialize in serializers.items()
            for weight in ("kernel", "recurrent", "bias")
        }
        config["units"] = self.units
        config["activation"] = keras.activations.serialize(self.activation)
        config["use_bias"] = self.use_bias
        return {**super().get_config(), **config}


def check_call(layer: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
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


def _apply(function: Callable[..., list[Any]], *tensors: Any) -> list[Any]:
    return function(*tensors)
