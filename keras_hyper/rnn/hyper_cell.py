"""Recurrent cells whose weights change at every step."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.rnn.cell import Fuse, Multiply, RecurrentCell, States, plus
from keras_hyper.typing import DType, Shape, Tensor
from keras_hyper.utils.checks import one_of

INITIALIZATIONS = ("paper", "supercell", "distinct")
# The first scale of every row of every matrix: the gain that Cooijmans et al. (2016) use for
# batch normalization in an LSTM.
FIRST_SCALE = 0.1
HYPER_ARGUMENTS = ("hyper_units", "embedding_dim", "initialization")


class HyperCell(RecurrentCell):
    """Base of the cells with generated weights.

    A small cell of the same kind, the *hyper cell*, sees `[h; x]` at every step. Its new state
    `h^` makes three embeddings for each gate of the main cell. The embeddings make scales and a
    bias. See `HyperLSTMCell` for the equations.

    Attributes:
        scaled: Whether the rows of each matrix are scaled. If not, each matrix is a weighted
            sum of stored matrices.
        hyper_recurrent_dropout: Fraction of the hyper cell's candidate that is dropped.
    """

    argument_names = (*RecurrentCell.argument_names, *HYPER_ARGUMENTS)
    input_matrices = ("kernel", "hyper_kernel")
    scaled = True
    hyper_recurrent_dropout = 0.0

    def __init__(self, **arguments: Any) -> None:
        initialization = one_of("initialization", arguments["initialization"], INITIALIZATIONS)
        if arguments["kernel_initializer"] is None and initialization == "supercell":
            arguments["kernel_initializer"] = "glorot_uniform"
        super().__init__(**arguments)

    @property
    def parts(self) -> dict[str, int]:
        """Widths of the main and the hyper cell, by the prefix of their attributes."""
        return {"": self.units, "hyper_": self.hyper_units}

    def build_parts(self, width: int) -> None:
        """Creates the weights of the main cell, the hyper cell, and between them."""
        super().build_parts(width)
        units, hyper_units, dim = self.units, self.hyper_units, self.embedding_dim
        gates, embeddings = self.gates * hyper_units, self.gates * dim
        # `W_x^` of the paper is one matrix for `[h; x]`. It is stored as two, because only the
        # part of `x` can be applied to all steps at once. Both take their rows from one draw.
        draw = OrthogonalPerGate(self.gates)
        if self.initialization == "supercell":
            draw = keras.initializers.GlorotUniform()

        def rows(part: slice) -> Callable[..., Tensor]:
            return lambda shape, dtype=None: draw((units + width, gates), dtype=dtype)[part]

        normal = keras.initializers.RandomNormal
        weights = {
            "hyper_state_kernel": ((units, gates), rows(slice(units))),
            "hyper_kernel": ((width, gates), rows(slice(units, None))),
            "hyper_recurrent_kernel": ((hyper_units, gates), OrthogonalPerGate(self.gates)),
            "hyper_bias": ((gates,), "zeros"),
            # At the start, `h^` has no effect and every scale is `FIRST_SCALE`.
            "embedding_kernel": ((hyper_units, 2 * embeddings), "zeros"),
            "embedding_bias": ((2 * embeddings,), "ones"),
            "scale_kernel": ((2 * self.gates, dim, units), self._first_scales()),
            "bias_embedding_kernel": ((hyper_units, embeddings), normal(stddev=0.01)),
            "bias_scale_kernel": ((self.gates, dim, units), "zeros"),
        }
        absent = [] if self.scaled else ["scale_kernel"]
        if not self.use_bias:
            absent += ["hyper_bias", "bias_embedding_kernel", "bias_scale_kernel"]
        for name, (shape, initializer) in weights.items():
            weight = None
            if name not in absent:
                weight = self.add_weight(name=name, shape=shape, initializer=initializer)
            setattr(self, name, weight)

    def _first_scales(self) -> Callable[..., Tensor]:
        """Returns an initializer of `S`: the scale of a `z` of ones is `FIRST_SCALE`.

        If all parts of `S` are equal, the elements of `z` always have equal gradients.
        """
        distinct = self.initialization == "distinct"
        normal = keras.initializers.RandomNormal(stddev=1.0) if distinct else None

        def draw(shape: Shape, dtype: DType = None) -> Tensor:
            parts = ops.ones(shape, dtype=dtype)
            if normal is not None:
                noise = normal(shape, dtype=dtype)
                parts = parts + noise - ops.mean(noise, axis=1, keepdims=True)
            return FIRST_SCALE / self.embedding_dim * parts

        return draw

    @property
    def state_matrices(self) -> list[str]:
        """Names of the weights that multiply states at every step."""
        names = ["recurrent_kernel", "hyper_state_kernel", "hyper_recurrent_kernel"]
        names += ["embedding_kernel", "bias_embedding_kernel"]
        return names if self.use_bias else names[:-1]

    def project(self, inputs: Tensor, multiply: Multiply) -> list[Tensor]:
        """Returns `[W_x x, W_x^ x + b^]`, for one step or for several."""
        main, hyper = (multiply(inputs, name) for name in self.input_matrices)
        return [main, plus(hyper, self.hyper_bias)]

    def transition(
        self, projected: States, states: States, drops: States, multiply: Multiply, fuse: Fuse
    ) -> list[Tensor]:
        """Returns the states of the main cell, then those of the hyper cell."""
        number = len(self.main_state_names)
        main, hyper = states[:number], states[number:]
        (inputs, hyper_inputs), (drop, hyper_drop) = projected, drops
        hyper_main = multiply(main[0], "hyper_state_kernel")
        hyper_hidden = multiply(hyper[0], "hyper_recurrent_kernel")
        hyper = fuse(self.hyper_step, hyper_inputs, hyper_main, hyper_hidden, hyper_drop, *hyper)
        hidden = multiply(main[0], "recurrent_kernel")
        embeddings = multiply(hyper[0], "embedding_kernel")
        bias_embeddings = None
        if self.use_bias:
            bias_embeddings = multiply(hyper[0], "bias_embedding_kernel")
        main = fuse(self.main_step, inputs, hidden, embeddings, bias_embeddings, drop, *main)
        return [*main, *hyper]

    def hyper_step(
        self, inputs: Tensor, main: Tensor, hidden: Tensor, drop: Tensor, *states: Tensor
    ) -> list[Tensor]:
        """Returns the new states of the hyper cell from products."""
        return self.step(inputs + main, hidden, drop, *states, part="hyper_")

    def main_step(
        self,
        inputs: Tensor,
        hidden: Tensor,
        embeddings: Tensor,
        bias_embeddings: Tensor,
        drop: Tensor,
        *states: Tensor,
    ) -> list[Tensor]:
        """Returns the new states of the main cell from products."""
        inputs, hidden = self.modulate(inputs, hidden, plus(embeddings, self.embedding_bias))
        if self.use_bias:
            change = _for_each_gate(bias_embeddings, self.bias_scale_kernel)
            inputs = inputs + plus(change, self.bias)
        return self.step(inputs, hidden, drop, *states)

    def modulate(self, inputs: Tensor, hidden: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns `d_x (W_x x)` and `d_h (W_h h)` from the plain products and `[z_h, z_x]`."""
        hidden_scale, inputs_scale = ops.split(_for_each_gate(z, self.scale_kernel), 2, axis=-1)
        return inputs_scale * inputs, hidden_scale * hidden

    def scales(self, hyper_output: Tensor) -> Tensor:
        """Returns `[d_h, d_x]` from `h^`, with all gates of `d_h` first."""
        embeddings = hyper_output @ ops.cast(self.embedding_kernel, hyper_output.dtype)
        return _for_each_gate(plus(embeddings, self.embedding_bias), self.scale_kernel)


def _for_each_gate(z: Tensor, kernel: keras.Variable) -> Tensor:
    """Returns all `kernel[n] z[n]` side by side, for `z` of shape `(batch, gates * dim)`."""
    gates, dim, units = kernel.shape
    z = ops.transpose(ops.reshape(z, (-1, gates, dim)), (1, 0, 2))
    made = z @ ops.cast(kernel, z.dtype)
    return ops.reshape(ops.transpose(made, (1, 0, 2)), (-1, gates * units))
