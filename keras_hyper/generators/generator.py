"""What every generator is: a layer that maps embeddings to numbers of unit variance."""

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.initializers import UnitRMS, weight_std
from keras_hyper.kernels import Full, Kernel
from keras_hyper.saving.sublayers import restore_sublayers, with_sublayers
from keras_hyper.typing import Config, Tensor
from keras_hyper.utils.checks import name_of, one_of, positive_int
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer

NORMALIZATIONS = ("layer", "rms", "weight", "batch")
# Above this many numbers between embeddings and weight, a generator whose layers
# are larger than what they make works on groups of pieces: 16 MiB in float32.
_NUMBERS_AT_ONCE = 2**22


class Generator(PolicyLayer):
    """Base of the hypernetworks: maps embeddings to weights.

    A generator has only what does not depend on the layer that uses it, so that any number of
    layers can share one. What belongs to one weight (its embedding, its standard deviation) is in
    `keras_hyper.GeneratedWeight`, which calls the generator.

    A subclass implements `embedding_shape`, `build` and `call`, and `assemble` if its output is not
    the weight laid out flat. For embeddings whose components have a mean square of 1, its outputs
    have variance 1. In its methods, `weight_shape` is the shape of a weight and `initializer` the
    Keras initializer that an ordinary weight would have.

    Args:
        embedding_dim: Integer, width of the embeddings.
        initialization: `"variance"`: the weight starts with the variance of the
            `kernel_initializer` of the layer that uses it. Subclasses add others.
        normalize_condition: Whether an embedding made from a condition is scaled to a root mean
            square of 1, which keeps the variance of the weights exact whatever the condition's
            scale. A learned embedding is never scaled.
        normalization: How a generated weight is normalized before it gets its standard deviation
            and a learned gain. `"layer"`: to mean 0 and variance 1. `"rms"`: to a root mean square
            of 1. `"weight"`: each unit (column of a dense kernel, filter) to a root mean square of
            1, with a gain for each. `"batch"`: each element to mean 0 and variance 1 over a batch
            of conditions, and by moving averages in inference, like
            `keras.layers.BatchNormalization`. None: not normalized.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        argument_names: The names of the arguments that are attributes, for `get_config`.
        shape_free: True if one generator serves weights of different shapes.
        initializations: The allowed values of `initialization`.
        projects_pieces: True if a condition is projected onto each piece of an embedding, False if
            all pieces get the same shift.
        factors: True if it makes the factors of a matrix of inputs by units.
        work: How many values are computed between the embedding of one piece and the piece, if
            they are more than the piece has and `call` is not random; else 0. Weights of many
            pieces are then made in groups.

    Call arguments:
        embedding: Tensor of shape `(..., pieces, embedding_dim)`.

    Output shape:
        `(..., pieces, size of a piece)`.

    Raises:
        ValueError: If an argument is none of its allowed values.

    Examples:
        A wave for each unit, whose embedding has its amplitude and its phase:

        >>> import keras
        >>> from keras_hyper import Generator, HyperDense
        >>> class WaveGenerator(Generator):
        ...     shape_free = True
        ...     def embedding_shape(self, weight_shape):
        ...         return weight_shape[-1], self.embedding_dim
        ...     def call(self, embedding):
        ...         amplitude, phase = embedding[..., :1], embedding[..., 1:]
        ...         steps = keras.ops.arange(64, dtype=self.compute_dtype)
        ...         return 2**0.5 * amplitude * keras.ops.sin(steps + phase)
        ...     def assemble(self, pieces, weight_shape):
        ...         waves = pieces[..., : weight_shape[0]]
        ...         return keras.ops.swapaxes(waves, -1, -2)
        >>> layer = HyperDense(3, generator=WaveGenerator(embedding_dim=2))
        >>> tuple(layer(keras.ops.ones((2, 16))).shape)
        (2, 3)
        >>> layer.count_params()  # Two numbers for each unit, and the bias.
        9
    """

    argument_names: tuple[str, ...] = (
        *("embedding_dim", "initialization", "normalize_condition", "normalization"),
    )
    shape_free: bool = False
    projects_pieces: bool = True
    factors: bool = False
    work: int = 0
    initializations: tuple[str, ...] = ("variance",)

    def __init__(
        self,
        embedding_dim: int = 8,
        initialization: str = "variance",
        normalize_condition: bool = True,
        normalization: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embedding_dim = positive_int("embedding_dim", embedding_dim)
        self.initialization = one_of("initialization", initialization, self.initializations)
        self.normalize_condition = bool(normalize_condition)
        if normalization is not None:
            one_of("normalization", normalization, NORMALIZATIONS)
        self.normalization = normalization
        # The limits that the user was warned of already.
        self.warned_of: list[str] = []
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: self.embedding_dim})
        # Set by `prepare` on a generator that serves one shape only.
        self._weight_shape: tuple[int, ...] | None = None
        self._native: keras.Initializer | None = None

    def embedding_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> keras.Initializer:
        """Returns an initializer for the embedding of one weight."""
        return UnitRMS()

    def projection_initializer(self, condition_dim: int) -> keras.Initializer:
        """Returns an initializer for the projection of a condition onto an embedding."""
        # Variance 1 for a condition of variance 1: as large as the embedding.
        return keras.initializers.RandomNormal(stddev=condition_dim**-0.5)

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns `(pieces, width)` of the embedding of a weight.

        Raises:
            ValueError: If the generator cannot make a weight of that shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `embedding_shape`.")

    def assemble(self, pieces: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """Returns a weight, put together from what `call` gave.

        Args:
            pieces: Tensor, the output of `call`.
            weight_shape: Shape of the weight.

        Returns:
            Tensor of shape `weight_shape`, with the leading axes of the embedding before it.
        """
        lead = ops.shape(pieces)[:-2]
        return ops.reshape(pieces, (*lead, *weight_shape))

    def assemble_all(
        self, pieces: Tensor, weight_shapes: Sequence[Sequence[int]], axis: int
    ) -> list[Tensor]:
        """Returns several weights, put together from the pieces of all of them.

        Args:
            pieces: Tensor, the output of `call` for the pieces of all weights in a row.
            weight_shapes: Shapes of the weights.
            axis: The axis of `pieces` that numbers them.
        """
        counts = [self.embedding_shape(shape)[0] for shape in weight_shapes]
        # The gradient of a split is one concatenation, that of slices a sum of padded ones.
        ends = list(itertools.accumulate(counts))
        parts = ops.split(pieces, ends[:-1], axis=axis)
        return [self.assemble(own, s) for own, s in zip(parts, weight_shapes, strict=True)]

    def limits(self, weight_shape: Sequence[int]) -> dict[str, str]:
        """Returns why the generator does not fit a weight, by kind, with figures.

        Returns:
            Dict of sentences, empty if nothing stands against it.
        """
        size, embedding = math.prod(weight_shape), math.prod(self.embedding_shape(weight_shape))
        if embedding <= size:
            return {}
        return {"embeddings": f"its embedding has {embedding:,} numbers, the weight {size:,}"}

    def warn_of_limits(self, weight_shape: Sequence[int], path: str) -> None:
        """Warns if the generator does not fit a weight, once for each kind of reason."""
        for kind, sentence in self.limits(weight_shape).items():
            if kind not in self.warned_of:
                self.warned_of.append(kind)
                warnings.warn(
                    f"{self} does not fit '{path}' of shape {weight_shape}: {sentence}. "
                    "`keras_hyper.summary` tells this of every weight; it is a defect only if you "
                    "did not mean it.",
                    stacklevel=2,
                )

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight for an embedding.

        Args:
            embedding: Tensor of shape `(pieces, width)`, or `(batch, pieces, width)` for a weight
                per sample.
            weight_shape: Shape of the weight.
        """
        batched = len(embedding.shape) == 3
        return Full(self.assemble(self.pieces(embedding), weight_shape), batched)

    def pieces(self, embedding: Tensor) -> Tensor:
        """Returns what `call` makes, with a bound on the memory it takes.

        Where the numbers between embeddings and pieces are many, and more than those of the pieces,
        groups of pieces are made one after the other, and in training made again for their
        gradients.
        """
        count = embedding.shape[-2]
        samples = embedding.shape[0] if len(embedding.shape) == 3 else 1
        # Where the number of samples is not known, None or a symbol of JAX, as for one.
        known = samples if isinstance(samples, int) else 1
        group = max(1, _NUMBERS_AT_ONCE // max(self.work * known, 1))
        if count <= group:
            return self(embedding)
        # A function of this call's own: JAX keeps what it traced by function, with
        # the values that the variables had then.
        make = keras.remat(lambda some: self(some))
        parts = [make(embedding[..., i : i + group, :]) for i in range(0, count, group)]
        return ops.concatenate(parts, axis=len(embedding.shape) - 2)

    def prepare(self, weight_shape: Sequence[int], initializer: keras.Initializer) -> float:
        """Gets the generator ready to make a weight, and says how to scale it.

        Every parent calls it once. The first call builds the generator.

        Returns:
            The factor by which the generated weight is to be multiplied.

        Raises:
            ValueError: If the generator cannot make the weight, or was built for another weight
                that it cannot share.
        """
        weight_shape = tuple(weight_shape)
        self.embedding_shape(weight_shape)
        scale, native = self.match_initializer(weight_shape, initializer)
        if not self.built:
            self._build_for(None if self.shape_free else weight_shape, native)
        elif self._weight_shape not in (None, weight_shape):
            raise ValueError(
                f"{type(self).__name__} '{self.name}' makes weights of one shape, and was built "
                f"for {self._weight_shape}. Received: weight_shape={weight_shape}. Give each "
                "shape a generator of its own, or share one that serves every shape, such as "
                "TiledKernelGenerator."
            )
        elif initializer_key(native) != initializer_key(self._native):
            raise ValueError(
                f"{type(self).__name__} '{self.name}' is shared by layers whose kernels start "
                "differently, and its one bias cannot start right for both. Received: "
                f"kernel_initializer={name_of(initializer)}. Give the layers the same "
                "initializer and composition, or a generator each."
            )
        return scale

    def match_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> tuple[float, keras.Initializer | None]:
        """Returns how the weight gets the start of an ordinary one: a factor, and a draw.

        Returns:
            The standard deviation to multiply numbers of variance 1 with, and None; or 1.0 and the
            initializer, if the generator's own bias is to start as its draw.
        """
        scaling = isinstance(initializer, keras.initializers.VarianceScaling)
        if self.initialization == "native" or ("native" in self.initializations and not scaling):
            return 1.0, initializer
        return self.matching_std(weight_shape, initializer), None

    def matching_std(self, weight_shape: Sequence[int], initializer: keras.Initializer) -> float:
        """Returns the standard deviation that an initializer gives a weight.

        Raises:
            ValueError: If the standard deviation is not known, or zero.
        """
        std = weight_std(initializer, weight_shape)
        if not std:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' cannot match the initializer "
                f"{name_of(initializer)}: its standard deviation is not known, or zero. Use a "
                "VarianceScaling, RandomNormal, RandomUniform, TruncatedNormal or Orthogonal "
                "initializer of mean zero, or a LinearGenerator or MLPGenerator, which start at "
                "the initializer's own draw."
            )
        return std

    def one_shape(self) -> tuple[int, ...]:
        """Returns the shape of all weights of a generator that serves one shape."""
        if self._weight_shape is None:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' makes one weight shape, which it learns "
                "from the layer that uses it. Pass it to a layer as `generator`, or call "
                "`prepare(weight_shape, initializer)` first."
            )
        return self._weight_shape

    def _build_for(
        self, weight_shape: tuple[int, ...] | None, native: keras.Initializer | None
    ) -> None:
        self._weight_shape = weight_shape
        self._native = native
        self.build((None, self.embedding_dim))
        freeze_what_is_new(self)

    def get_build_config(self) -> Config | None:
        """Returns what `build_from_config` needs to create the variables again."""
        if not self.built:
            return None
        native = self._native and keras.initializers.serialize(self._native)
        return with_sublayers({"weight_shape": self._weight_shape, "native": native}, self)

    def build_from_config(self, config: Config) -> None:
        """Creates the variables as they were when the generator was saved."""
        shape, native = config["weight_shape"], config["native"]
        self._build_for(
            None if shape is None else tuple(shape),
            None if native is None else keras.initializers.get(native),
        )
        restore_sublayers(config, self)

    def get_config(self) -> Config:
        """Returns the arguments to construct this generator again."""
        config: Config = super().get_config()
        return {**config, **{name: getattr(self, name) for name in self.argument_names}}


def initializer_key(native: keras.Initializer | None) -> object:
    """Returns what tells two native starts apart, which the seed does not."""
    if not isinstance(native, keras.initializers.Initializer):
        return native
    return type(native), {**native.get_config(), "seed": None}
