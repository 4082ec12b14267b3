"""Recurrent cells whose weights change at every step."""

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.initializers import OrthogonalPerGate
from keras_hyper.rnn.cell import Fuse, Multiply, RecurrentCell
from keras_hyper.utils.checks import one_of, positive_int, rate

INITIALIZATIONS = ("paper", "supercell", "distinct")
# Every row of every matrix starts at a tenth (Cooijmans et al., 2016, for the gain of
# batch normalisation in an LSTM).
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
        main_states: How many states the main cell has. Those of the hyper cell,
            as many, follow them.
        scaled: Whether each matrix is scaled. If not, it is a sum of stored ones.
    """

    main_states: ClassVar[int]
    scaled = True

    @property
    def state_names(self) -> list[str]:
        """Names of the states: those of the main cell, then those of the hyper cell."""
        return [f"{part}{name}" for part in ("", "hyper_") for name in self.main_state_names]

    def __init__(
        self,
        units: int,
        hyper_units: int = 128,
        embedding_dim: int = 4,
        initialization: str = "paper",
        kernel_initializer: Any = None,
        **kwargs: Any,
    ) -> None:
        one_of("initialization", initialization, INITIALIZATIONS)
        if kernel_initializer is None and initialization == "supercell":
            kernel_initializer = "glorot_uniform"
        super().__init__(units, kernel_initializer=kernel_initializer, **kwargs)
        self.initialization = initialization
        self.hyper_units = positive_int("hyper_units", hyper_units)
        self.embedding_dim = positive_int("embedding_dim", embedding_dim)
        self.hyper_kernel: Any = None
        self.hyper_state_kernel: Any = None
        self.hyper_recurrent_kernel: Any = None
        self.hyper_bias: Any = None
        self.embedding_kernel: Any = None
        self.embedding_bias: Any = None
        self.bias_embedding_kernel: Any = None
        self.scale_kernel: Any = None
        self.bias_scale_kernel: Any = None
        self.state_size = [self.units] * self.main_states + [self.hyper_units] * self.main_states

    def build(self, input_shape: Any) -> None:
        """Creates the weights for one step of known width."""
        width = self.build_weights(input_shape)
        self._build_hyper_cell(width)
        self._build_scales()

    def _build_hyper_cell(self, width: int) -> None:
        units, gates = self.units, self.gates * self.hyper_units
        # `W_x^` of the paper is one matrix for `[h; x]`. It is kept as two, because
        # only one of them can be applied to all steps at once; both draw the whole.
        draw = OrthogonalPerGate(self.gates)
        if self.initialization == "supercell":
            draw = keras.initializers.GlorotUniform()

        def rows(part: slice) -> Any:
            return lambda shape, dtype=None: draw((units + width, gates), dtype=dtype)[part]

        self.hyper_state_kernel = self.add_weight(
            shape=(units, gates), name="hyper_state_kernel", initializer=rows(slice(units))
        )
        self.hyper_kernel = self.add_weight(
            shape=(width, gates), name="hyper_kernel", initializer=rows(slice(units, None))
        )
        self.hyper_recurrent_kernel = self.add_weight(
            shape=(self.hyper_units, gates),
            name="hyper_recurrent_kernel",
            initializer=OrthogonalPerGate(self.gates),
        )
        if self.use_bias:
            self.hyper_bias = self.add_weight(
                shape=(gates,), name="hyper_bias", initializer="zeros"
            )

    def _build_scales(self) -> None:
        numbers = self.gates * self.embedding_dim
        # A change of `h^` changes nothing yet, and every scale is `FIRST_SCALE`.
        self.embedding_kernel = self.add_weight(
            shape=(self.hyper_units, 2 * numbers), name="embedding_kernel", initializer="zeros"
        )
        self.embedding_bias = self.add_weight(
            shape=(2 * numbers,), name="embedding_bias", initializer="ones"
        )
        if self.scaled:
            self.scale_kernel = self.add_weight(
                shape=(2 * self.gates, self.embedding_dim, self.units),
                name="scale_kernel",
                initializer=self._first_scales,
            )
        if self.use_bias:
            self.bias_embedding_kernel = self.add_weight(
                shape=(self.hyper_units, numbers),
                name="bias_embedding_kernel",
                initializer=keras.initializers.RandomNormal(stddev=0.01),
            )
            self.bias_scale_kernel = self.add_weight(
                shape=(self.gates, self.embedding_dim, self.units),
                name="bias_scale_kernel",
                initializer="zeros",
            )

    def _first_scales(self, shape: Any, dtype: Any = None) -> Any:
        """Draws `S`, such that the scale is `FIRST_SCALE` where all numbers of `z` are one."""
        parts = ops.ones(shape, dtype=dtype)
        if self.initialization == "distinct":
            # With equal parts, the numbers of `z` have equal gradients for ever.
            noise = keras.initializers.RandomNormal(stddev=1.0)(shape, dtype=dtype)
            parts = parts + noise - ops.mean(noise, axis=1, keepdims=True)
        return FIRST_SCALE / self.embedding_dim * parts

    @property
    def input_matrices(self) -> list[str]:
        """Names of the weights that inputs are multiplied with."""
        return ["kernel", "hyper_kernel"]

    @property
    def state_matrices(self) -> list[str]:
        """Names of the weights that states are multiplied with, in every step."""
        names = ["recurrent_kernel", "hyper_state_kernel", "hyper_recurrent_kernel"]
        names.append("embedding_kernel")
        return [*names, "bias_embedding_kernel"] if self.use_bias else names

    def project(self, inputs: Any, multiply: Multiply) -> list[Any]:
        """Returns `[W_x x, W_x^ x + b^]`, for one step or for many."""
        main, hyper = (multiply(inputs, name) for name in self.input_matrices)
        return [main, hyper + ops.cast(self.hyper_bias, hyper.dtype) if self.use_bias else hyper]

    def transition(
        self,
        projected: Sequence[Any],
        states: Sequence[Any],
        drops: Sequence[Any],
        multiply: Multiply,
        fuse: Fuse,
    ) -> list[Any]:
        """Returns the states of the main cell, then those of the hyper cell."""
        drop, hyper_drop = drops or (None, None)
        main, hyper = states[: self.main_states], states[self.main_states :]
        inputs, hyper_inputs = projected
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

    def hyper_step(self, inputs: Any, main: Any, hidden: Any, drop: Any, *states: Any) -> list[Any]:
        """Returns the new states of the hyper cell from products."""
        return self.step(inputs + main, hidden, states, drop, hyper=True)

    def main_step(
        self,
        inputs: Any,
        hidden: Any,
        embeddings: Any,
        bias_embeddings: Any,
        drop: Any,
        *states: Any,
    ) -> list[Any]:
        """Returns the new states of the main cell from products."""
        inputs, hidden = self.modulate(inputs, hidden, embeddings, bias_embeddings)
        return self.step(inputs, hidden, states, drop, hyper=False)

    def modulate(
        self, inputs: Any, hidden: Any, embeddings: Any, bias_embeddings: Any
    ) -> tuple[Any, Any]:
        """Returns `d_x (W_x x) + b` and `d_h (W_h h)` from the plain products and `E h^`."""
        hidden_scale, inputs_scale = ops.split(self._scales(embeddings), 2, axis=-1)
        return self.add_bias(inputs_scale * inputs, bias_embeddings), hidden_scale * hidden

    def scales(self, hyper_output: Any) -> Any:
        """Returns `[d_h, d_x]`, all gates of `d_h` first, from `h^`."""
        return self._scales(hyper_output @ ops.cast(self.embedding_kernel, hyper_output.dtype))

    def _scales(self, embeddings: Any) -> Any:
        z = embeddings + ops.cast(self.embedding_bias, embeddings.dtype)
        return _for_each_gate(z, self.scale_kernel)

    def add_bias(self, inputs: Any, bias_embeddings: Any) -> Any:
        """Returns `inputs + S_b z_b + b_0`, from `z_b`."""
        if not self.use_bias:
            return inputs
        change = _for_each_gate(bias_embeddings, self.bias_scale_kernel)
        return inputs + (change + ops.cast(self.bias, inputs.dtype))

    def step(
        self, inputs: Any, hidden: Any, states: Sequence[Any], drop: Any, hyper: bool
    ) -> list[Any]:
        """Returns the new states of the main or the hyper cell from pre-activations."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this cell again."""
        config = {
            "hyper_units": self.hyper_units,
            "embedding_dim": self.embedding_dim,
            "initialization": self.initialization,
        }
        return {**super().get_config(), **config}


class GatedHyperCell(HyperCell):
    """Base of the hyper cells with gates and a candidate: LSTM and GRU.

    Args:
        units: Integer, width of the output.
        recurrent_activation: Activation function of the gates, in both cells.
        recurrent_dropout: Fraction of the candidate that is dropped at each step.
        hyper_recurrent_dropout: The same in the hyper cell.
        seed: Optional integer, for the same dropout again.
        **kwargs: Arguments of `HyperCell`.
    """

    def __init__(
        self,
        units: int,
        recurrent_activation: Any = "sigmoid",
        recurrent_dropout: float = 0.0,
        hyper_recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, **kwargs)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.recurrent_dropout = rate("recurrent_dropout", recurrent_dropout)
        self.hyper_recurrent_dropout = rate("hyper_recurrent_dropout", hyper_recurrent_dropout)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def dropouts(self) -> list[tuple[float, int]]:
        """Rate and width of what the main and the hyper cell drop."""
        return [
            (self.recurrent_dropout, self.units),
            (self.hyper_recurrent_dropout, self.hyper_units),
        ]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this cell again."""
        config = {
            "recurrent_activation": keras.activations.serialize(self.recurrent_activation),
            "recurrent_dropout": self.recurrent_dropout,
            "hyper_recurrent_dropout": self.hyper_recurrent_dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}


def _for_each_gate(z: Any, kernel: Any) -> Any:
    """Returns `kernel[n] z[n]` side by side, for `z` of shape `(batch, gates * dim)`."""
    gates, dim, units = kernel.shape
    z = ops.transpose(ops.reshape(z, (-1, gates, dim)), (1, 0, 2))
    made = z @ ops.cast(kernel, z.dtype)
    return ops.reshape(ops.transpose(made, (1, 0, 2)), (-1, gates * units))
