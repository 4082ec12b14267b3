"""The kernel generator of the paper: kernels of any size from tiles."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.generators.generator import Generator
from keras_hyper.initializers import UnitGainOrthogonal
from keras_hyper.saving import serializable
from keras_hyper.typing import Tensor
from keras_hyper.utils.checks import positive_int, positive_ints


@serializable
class TiledKernelGenerator(Generator):
    r"""Makes kernels of any size from tiles: the paper's static hypernetwork.

    Two linear layers make a tile of shape `(*spatial, n_in, n_out)` from its embedding `z`, as in
    equations (1) and (2) of Ha, Dai & Le ("HyperNetworks", ICLR 2017):

    ```
    a_i = W_i z + B_i              for each input channel i = 1 ... n_in
    K_i = <W_out, a_i> + B_out     the tile's slice for that input channel
    ```

    `W_i` has the shape `(hidden_dim, embedding_dim)`, and `W_out` the shape
    `(*spatial, n_out, hidden_dim)`. A larger kernel is a grid of tiles (equation 3), with input
    channels in rows and output channels in columns. Each tile has its own embedding. The grid is
    cropped if the channels are not a multiple of the tile's.

    The generator has
    `n_in * hidden_dim * (embedding_dim + 1) + prod(spatial) * n_out * (hidden_dim + 1)`
    parameters for any number of layers. Each kernel adds one embedding per tile.

    Args:
        tile: Tuple of integers, the shape of a tile: `(height, width, n_in, n_out)` for 2D
            convolutions, `(n_in, n_out)` for dense layers.
        embedding_dim: Integer, width of a tile's embedding (the paper's `N_z`).
        hidden_dim: Integer, width of the `a_i` (the paper's `d`). Defaults to `embedding_dim`.
        initialization: `"variance"`: the kernel starts with the variance of the layer's
            `kernel_initializer`. `"paper"`: as in the author's published notebook. `W_i` and
            `W_out` are truncated normal with standard deviation 0.01, biases zero, and embeddings
            truncated normal with mean 0.01 and standard deviation 1. Kernels are not scaled.
        normalize_condition: Boolean, see `Generator`.
        **kwargs: `normalization` (see `Generator`) and arguments of `keras.layers.Layer`.

    Call arguments:
        embedding: Tensor of shape `(..., tiles, embedding_dim)`.

    Output shape:
        `(..., tiles, n_in, prod(spatial) * n_out)`, values of variance 1 (`"variance"`).

    Raises:
        ValueError: If a kernel has a different rank or spatial size than the tile, or
            `initialization="paper"` is combined with `normalization`.

    Examples:
        The generator of the paper's MNIST network, with 4,240 parameters for 12,544 weights:

        >>> import keras
        >>> from keras_hyper import HyperConv2D, TiledKernelGenerator
        >>> generator = TiledKernelGenerator(tile=(7, 7, 16, 16), embedding_dim=4)
        >>> layer = HyperConv2D(16, 7, padding="same", generator=generator)
        >>> layer(keras.ops.ones((1, 14, 14, 16))).shape[-1]
        16
        >>> generator.count_params()
        4240
    """

    argument_names = (*Generator.argument_names, "tile", "hidden_dim")
    shape_free = True
    initializations = ("variance", "paper")

    def __init__(
        self,
        tile: Sequence[int],
        embedding_dim: int = 64,
        hidden_dim: int | None = None,
        initialization: str = "variance",
        normalize_condition: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(embedding_dim, initialization, normalize_condition, **kwargs)
        self.tile = positive_ints("tile", tile)
        if len(self.tile) < 2:
            raise ValueError(
                "`tile` must have at least two axes: input channels and output channels. "
                f"Received: tile={self.tile}"
            )
        if self.initialization == "paper" and self.normalization is not None:
            raise ValueError(
                "initialization='paper' does not support `normalization`, which would undo its "
                f"initial scale. Received: normalization={self.normalization!r}. Use "
                "initialization='variance'."
            )
        if hidden_dim is not None:
            hidden_dim = positive_int("hidden_dim", hidden_dim)
        self.hidden_dim = hidden_dim or self.embedding_dim
        self._spatial, (self._rows, self._columns) = self.tile[:-2], self.tile[-2:]
        hidden, self._cropped_size = self._rows * self.hidden_dim, math.prod(self.tile)
        self.hidden = self._linear("hidden", hidden)
        self.head = self._linear("head", self._cropped_size // self._rows)
        self.work = hidden if hidden > self._cropped_size else 0

    def embedding_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> keras.Initializer:
        """Returns an initializer for the embeddings of the tiles."""
        if self.initialization == "paper":
            return keras.initializers.TruncatedNormal(mean=0.01, stddev=1.0)
        return super().embedding_initializer(weight_shape, initializer)

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(tiles, embedding_dim)`."""
        rows, columns = self._grid(weight_shape)
        return rows * columns, self.embedding_dim

    def limits(self, weight_shape: Sequence[int]) -> dict[str, str]:
        """Returns the reasons why the generator does not fit a kernel."""
        limits = super().limits(weight_shape)
        full = min(weight_shape[-2], math.prod(weight_shape) // weight_shape[-2])
        rank = kernel_rank(self.tile, self.embedding_dim, self.hidden_dim, weight_shape)
        if rank < full:
            limits["rank"] = (
                f"its rank, as a matrix of input channels by the rest, is at most {rank} of {full}"
            )
        return limits

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the two linear layers."""
        self.hidden.build((None, self.embedding_dim))
        self.head.build((None, self.hidden_dim))

    def call(self, embedding: Tensor) -> Tensor:
        """Returns one tile for each embedding."""
        lead = ops.shape(embedding)[:-1]
        # One matrix of rows, for the reason given in `shared_dense`.
        hidden = self.hidden(ops.reshape(embedding, (-1, self.embedding_dim)))
        rows = self.head(ops.reshape(hidden, (-1, self.hidden_dim)))
        return ops.reshape(rows, (*lead, self._rows, self.head.units))

    def assemble(self, pieces: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """Assembles a kernel from a grid of tiles, and crops it."""
        rows, columns = self._grid(weight_shape)
        lead = ops.shape(pieces)[:-3]
        n, k = len(lead), len(self._spatial)
        tiles = ops.reshape(
            pieces, (*lead, rows, columns, self._rows, *self._spatial, self._columns)
        )
        # (rows, columns, n_in, *spatial, n_out) -> (*spatial, rows, n_in, columns, n_out)
        spatial = range(n + 3, n + 3 + k)
        tiles = ops.transpose(tiles, (*range(n), *spatial, n, n + 2, n + 1, n + 3 + k))
        grid = (rows * self._rows, columns * self._columns)
        kernel = ops.reshape(tiles, (*lead, *self._spatial, *grid))
        fan_in, fan_out = weight_shape[-2:]
        return kernel if grid == (fan_in, fan_out) else kernel[..., :fan_in, :fan_out]

    def match_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> tuple[float, keras.Initializer | None]:
        """Returns the scale of a kernel, 1.0 for `initialization="paper"`, and None."""
        if self.initialization == "paper":
            return 1.0, None
        return super().match_initializer(weight_shape, initializer)

    def _grid(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns how many rows and columns of tiles cover a kernel."""
        weight_shape = tuple(weight_shape)
        if len(weight_shape) != len(self.tile) or weight_shape[:-2] != self.tile[:-2]:
            raise ValueError(
                f"TiledKernelGenerator '{self.name}' with tile={self.tile} makes kernels of shape "
                f"{(*self._spatial, 'any', 'any')}. Received: weight_shape={weight_shape}. Use a "
                f"generator with tile={(*weight_shape[:-2], 'n_in', 'n_out')}."
            )
        fan_in, fan_out = weight_shape[-2:]
        return math.ceil(fan_in / self._rows), math.ceil(fan_out / self._columns)

    def _linear(self, name: str, units: int) -> keras.layers.Dense:
        if self.initialization == "paper":
            initializer = keras.initializers.TruncatedNormal(stddev=0.01)
        else:
            initializer = UnitGainOrthogonal()
        return keras.layers.Dense(
            units, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )


def tile_sides(channels: int) -> list[int]:
    """Returns the sides of tiles to try: the powers of two, and all channels."""
    return sorted({*(2**k for k in range(channels.bit_length())), channels})


def tiles_stored(
    tile: Sequence[int],
    embedding_dim: int,
    weight_shapes: Sequence[Sequence[int]],
    condition_dim: int,
) -> int:
    """Returns the number of parameters of a generator, its embeddings and the projections.

    `condition_dim` is 0 without a condition.
    """
    *spatial, rows, columns = tile
    tiles = sum(math.ceil(s[-2] / rows) * math.ceil(s[-1] / columns) for s in weight_shapes)
    generator = (rows * embedding_dim + math.prod(spatial) * columns) * (embedding_dim + 1)
    return generator + tiles * embedding_dim * (1 + condition_dim)


def kernel_rank(
    tile: Sequence[int], embedding_dim: int, hidden_dim: int, weight_shape: Sequence[int]
) -> int:
    """Returns an upper bound on the rank of a tiled kernel, as input channels by the rest."""
    *spatial, rows, columns = tile
    *_, fan_in, fan_out = weight_shape
    down, across = math.ceil(fan_in / rows), math.ceil(fan_out / columns)
    # A column of tiles is `[A_1; A_2; ...] W_out` plus a shared bias.
    flat = math.prod(spatial) * columns
    by_columns = across * min(flat, hidden_dim) + 1
    # A kernel is `ones x T_0 + E_1 x T_1 + ...` (Kronecker products). `T_k` is a tile, `E_k` the
    # grid of the k-th components of the embeddings.
    grids = embedding_dim * min(down, across)
    by_grids = min(rows, flat, hidden_dim + 1) + grids * min(rows, flat, hidden_dim)
    return min(by_columns, by_grids, fan_in, math.prod(weight_shape) // fan_in)
