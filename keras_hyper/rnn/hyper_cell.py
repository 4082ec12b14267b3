"""Recurrent cells whose weights change at every step."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.rnn.cell import Fuse, Multiply, RecurrentCell, States, plus
from keras_hyper.rnn.gated_cell import GatedCell
from keras_hyper.typing import Config, DType, Initializer, Shape, Tensor
from keras_hyper.utils.checks import one_of, positive_int, rate

INITIALIZATIONS = ("paper", "supercell", "distinct")
# Every row of every matrix starts at a tenth (Cooijmans et al., 2016, for the gain of
# batch normalization in an LSTM).
FIRST_SCALE = 0.1


class HyperCell(RecurrentCell):
    r"""Base of the cells with generated weights.

    A small cell of the same kind, the *hyper cell*, sees `[h; x]` at every step.
    Its new state `h^` makes three short embeddings for each gate of the main cell,
    `z_h = E_h h^ + e_h`, `z_x = E_x h^ + e_x` and `z_b = E_b h^`; these make a scale
    for each row of `W_h` and of `W_x`, and a bias:

    `d_h (W_h h) + d_x (W_x x) + S_b z_b + b_0` with `d_h = S_h z_h`, `d_x = S_x z_x`.

    Args:
        units: Integer, width of the output.
        hyper_units: Integer, width of the hyper cell.
        embedding_dim: Integer, width of each embedding.
        initialization: One of `INITIALIZATIONS`.
        kernel_initializer: Initializer of `W_x`. None for that of `initialization`.
        **kwargs: Arguments of `RecurrentCell`.

    Attributes:
        scaled: Whether each matrix is scaled. If not, it is a sum of stored ones.
        hyper_recurrent_dropout: Fraction of the candidate that the hyper cell drops.
    """

    input_matrices = ("kernel", "hyper_kernel")
    scaled = True
    hyper_recurrent_dropout = 0.0
    hyper_kernel: keras.Variable = None
    hyper_state_kernel: keras.Variable = None
    hyper_recurrent_kernel: keras.Variable = None
    hyper_bias: keras.Variable = None
    embedding_kernel: keras.Variable = None
    embedding_bias: keras.Variable = None
    scale_kernel: keras.Variable = None
    bias_embedding_kernel: keras.Variable = None
    bias_scale_kernel: keras.Variable = None

    @property
    def state_names(self) -> list[str]:
        """Names of the states: those of the main cell, then those of the hyper cell."""
        return [f"{part}{name}" for part in ("", "hyper_") for name in self.main_state_names]

    def __init__(
        self,
        units: int,
        *,
        hyper_units: int,
        embedding_dim: int,
        initialization: str,
        kernel_initializer: Initializer | None,
        **kwargs: Any,
    ) -> None:
        one_of("initialization", initialization, INITIALIZATIONS)
        if kernel_initializer is None and initialization == "supercell":
            kernel_initializer = "glorot_uniform"
        super().__init__(units, kernel_initializer=kernel_initializer, **kwargs)
        self.initialization = initialization
        self.hyper_units = positive_int("hyper_units", hyper_units)
        self.embedding_dim = positive_int("embedding_dim", embedding_dim)

    @property
    def main_states(self) -> int:
        """Number of states of the main cell. Those of the hyper cell, as many, follow them."""
        return len(self.main_state_names)

    @property
    def parts(self) -> dict[str, int]:
        """Widths of the main and the hyper cell, by how the names of their attributes start."""
        return {"": self.units, "hyper_": self.hyper_units}

    def build_parts(self, width: int) -> None:
        """Creates the weights of the main cell, of the hyper cell, and those between them."""
        super().build_parts(width)
        units, hyper_units, dim = self.units, self.hyper_units, self.embedding_dim
        gates, numbers = self.gates * hyper_units, self.gates * dim
        # `W_x^` of the paper is one matrix for `[h; x]`. It is kept as two, because
        # only one of them can be applied to all steps at once; both draw the whole.
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
            # A change of `h^` changes nothing yet, and every scale is `FIRST_SCALE`.
            "embedding_kernel": ((hyper_units, 2 * numbers), "zeros"),
            "embedding_bias": ((2 * numbers,), "ones"),
            "scale_kernel": ((2 * self.gates, dim, units), self._first_scales()),
            "bias_embedding_kernel": ((hyper_units, numbers), normal(stddev=0.01)),
            "bias_scale_kernel": ((self.gates, dim, units), "zeros"),
        }
        absent = [] if self.scaled else ["scale_kernel"]
        if not self.use_bias:
            absent += ["hyper_bias", "bias_embedding_kernel", "bias_scale_kernel"]
        for name, (shape, initializer) in weights.items():
            if name not in absent:
                weight = self.add_weight(name=name, shape=shape, initializer=initializer)
                setattr(self, name, weight)

    def _first_scales(self) -> Callable[..., Tensor]:
        """Returns an initializer of `S`: if all numbers of `z` are 1, the scale is `FIRST_SCALE`.

        With equal parts, the numbers of `z` have equal gradients for ever.
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
        """Names of the weights that states are multiplied with, in every step."""
        names = ["recurrent_kernel", "hyper_state_kernel", "hyper_recurrent_kernel"]
        names.append("embedding_kernel")
        return [*names, "bias_embedding_kernel"] if self.use_bias else names

    def project(self, inputs: Tensor, multiply: Multiply) -> list[Tensor]:
        """Returns `[W_x x, W_x^ x + b^]`, for one step or for many."""
        main, hyper = (multiply(inputs, name) for name in self.input_matrices)
        return [main, plus(hyper, self.hyper_bias)]

    def transition(
        self, projected: States, states: States, drops: States, multiply: Multiply, fuse: Fuse
    ) -> list[Tensor]:
        """Returns the states of the main cell, then those of the hyper cell."""
        main, hyper = states[: self.main_states], states[self.main_states :]
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
        """Returns `[d_h, d_x]`, all gates of `d_h` first, from `h^`."""
        embeddings = hyper_output @ ops.cast(self.embedding_kernel, hyper_output.dtype)
        return _for_each_gate(plus(embeddings, self.embedding_bias), self.scale_kernel)

    def get_config(self) -> Config:
        """Returns the arguments to construct this cell again."""
        config = {
            "hyper_units": self.hyper_units,
            "embedding_dim": self.embedding_dim,
            "initialization": self.initialization,
        }
        return {**super().get_config(), **config}


class GatedHyperCell(HyperCell, GatedCell):
    """Base of the hyper cells with gates and a candidate: LSTM and GRU.

    Args:
        units: Integer, width of the output.
        hyper_recurrent_dropout: Fraction of the candidate that the hyper cell drops.
        **kwargs: Arguments of `HyperCell` and `GatedCell`.
    """

    def __init__(self, units: int, *, hyper_recurrent_dropout: float, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.hyper_recurrent_dropout = rate("hyper_recurrent_dropout", hyper_recurrent_dropout)

    def get_config(self) -> Config:
        """Returns the arguments to construct this cell again."""
        config = {"hyper_recurrent_dropout": self.hyper_recurrent_dropout}
        return {**super().get_config(), **config}


def _for_each_gate(z: Tensor, kernel: keras.Variable) -> Tensor:
    """Returns `kernel[n] z[n]` side by side, for `z` of shape `(batch, gates * dim)`."""
    gates, dim, units = kernel.shape
    z = ops.transpose(ops.reshape(z, (-1, gates, dim)), (1, 0, 2))
    made = z @ ops.cast(kernel, z.dtype)
    return ops.reshape(ops.transpose(made, (1, 0, 2)), (-1, gates * units))
