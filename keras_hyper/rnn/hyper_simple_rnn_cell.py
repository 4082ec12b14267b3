"""The HyperRNN of the paper."""

import math
from typing import Any

from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.rnn.hyper_cell import FIRST_SCALE, INITIALIZATIONS, HyperCell
from keras_hyper.saving import serializable
from keras_hyper.typing import Activation, Constraint, Initializer, Regularizer, Tensor
from keras_hyper.utils.arguments import passed
from keras_hyper.utils.checks import one_of, positive_int

FORMS = ("scaled", "full")


@serializable
class HyperSimpleRNNCell(HyperCell):
    r"""One step of a simple RNN whose weights a smaller one changes at every step.

    The hyper cell is a simple RNN of `hyper_units` that sees `[h; x]` and takes its
    step first: `h^'` is its *new* output (equation 6). Then
    `z_h = E_h h^' + e_h`, `z_x = E_x h^' + e_x` and `z_b = E_b h^'`.

    `form="scaled"` (equation 8) is `h' = tanh(d_h (W_h h) + d_x (W_x x) + S_b z_b + b_0)` with
    `d_h = S_h z_h` and `d_x = S_x z_x`. `form="full"` (equation 5) is
    `h' = tanh(<W_h, z_h> h + <W_x, z_x> x + S_b z_b + b_0)`, where `<W, z>` is the sum of
    `embedding_dim` matrices weighted by `z`. The full form stores `embedding_dim` matrices for
    each matrix of the scaled form, and multiplies by all of them.

    Args:
        units: Integer, width of the output.
        hyper_units: Integer, width of the hyper cell.
        embedding_dim: Integer, width of each of the three embeddings.
        form: `"scaled"` or `"full"`.
        initialization: `"paper"`: orthogonal matrices, `E_h` and `E_x` zero, `e` one, and a
            constant `S` such that every scale starts at 0.1. The full form supports only this:
            mixed matrices start at 0.1 times the size of orthogonal ones. `"supercell"` and
            `"distinct"`: See `HyperLSTMCell`.
        activation: Activation function, in both cells.
        use_bias: Whether there are biases, stored and generated.
        kernel_initializer: Initializer of `W_x`. None: chosen by `initialization`.
        recurrent_initializer: Initializer of `W_h`. None for an orthogonal matrix.
        bias_initializer: Initializer of `b_0`.
        kernel_regularizer: Regularizer of `W_x`.
        recurrent_regularizer: Regularizer of `W_h`.
        bias_regularizer: Regularizer of `b_0`.
        kernel_constraint: Constraint of `W_x`.
        recurrent_constraint: Constraint of `W_h`.
        bias_constraint: Constraint of `b_0`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: Tensor of shape `(batch, features)`.
        states: `[h, h^]`, of shapes `(batch, units)` and `(batch, hyper_units)`.
        training: Boolean, ignored.

    Output shape:
        `(batch, units)`, and the two new states.

    Raises:
        ValueError: If an argument, the inputs or the states are invalid.

    Reference:
        Ha, Dai & Le, "HyperNetworks", ICLR 2017, section 3.2.

    Examples:
        >>> import keras
        >>> from keras_hyper import HyperSimpleRNNCell
        >>> layer = keras.layers.RNN(HyperSimpleRNNCell(8, hyper_units=4))
        >>> tuple(layer(keras.random.normal((2, 5, 3))).shape)
        (2, 8)
    """

    argument_names = (*HyperCell.argument_names, "form")
    gate_names = ("state",)
    main_state_names = ("h",)

    def __init__(
        self,
        units: int,
        hyper_units: int = 128,
        embedding_dim: int = 4,
        form: str = "scaled",
        initialization: str = "paper",
        activation: Activation = "tanh",
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        recurrent_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        kernel_regularizer: Regularizer = None,
        recurrent_regularizer: Regularizer = None,
        bias_regularizer: Regularizer = None,
        kernel_constraint: Constraint = None,
        recurrent_constraint: Constraint = None,
        bias_constraint: Constraint = None,
        **kwargs: Any,
    ) -> None:
        arguments = passed(locals())
        if one_of("form", form, FORMS) == "full":
            if one_of("initialization", initialization, INITIALIZATIONS) != "paper":
                raise ValueError(
                    '`form="full"` has no scales to initialize: use initialization="paper". '
                    f"Received: form={form!r}, initialization={initialization!r}"
                )
            dim = positive_int("embedding_dim", embedding_dim)
            # At the start all `z` are 1: each matrix is the sum of `dim` independent draws.
            gain = FIRST_SCALE / math.sqrt(dim)
            for name in ("kernel_initializer", "recurrent_initializer"):
                arguments[name] = arguments[name] or OrthogonalPerGate(dim, gain)
        super().__init__(**arguments)
        self.scaled = form == "scaled"
        self.copies = 1 if self.scaled else self.embedding_dim

    def modulate(self, inputs: Tensor, hidden: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `W_x(z_x) x` and `W_h(z_h) h` from the plain products and `[z_h, z_x]`."""
        if self.scaled:
            return super().modulate(inputs, hidden, z)
        z_h, z_x = ops.split(z, 2, axis=-1)
        return self._mix(inputs, z_x), self._mix(hidden, z_h)

    def _mix(self, products: Tensor, z: Tensor) -> Tensor:
        products = ops.reshape(products, (-1, self.embedding_dim, self.units))
        return ops.sum(products * ops.expand_dims(z, axis=-1), axis=1)

    def step(
        self, inputs: Tensor, hidden: Tensor, drop: Tensor, *states: Tensor, part: str = ""
    ) -> list[Tensor]:
        """Returns `[h']`."""
        return [self.activation(inputs + hidden)]
