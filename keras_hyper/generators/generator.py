"""The base class of generators: layers that map embeddings to values of variance 1."""

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

# Maximum number of intermediate values in a group of pieces: 16 MiB in float32.
_NUMBERS_AT_ONCE = 2**22


class Generator(PolicyLayer):
    """Base class of the hypernetworks: maps embeddings to weights.

    A generator holds only state that is independent of the weights it makes, so that layers can
    share one. `keras_hyper.GeneratedWeight` holds the embedding and the standard deviation of one
    weight, and calls the generator.

    Subclasses implement `embedding_shape`, `build` and `call`. They override `assemble` if the
    output of `call` is not the flattened weight. For embeddings with a mean square of 1, the output
    has variance 1. In all methods, `weight_shape` is the shape of a weight, and `initializer` the
    Keras initializer of the ordinary weight that it replaces.

    Args:
        embedding_dim: Integer, width of the embeddings.
        initialization: `"variance"`: the weight starts with the variance of the
            `kernel_initializer` of its layer. Subclasses can add more values.
        normalize_condition: Whether an embedding made from a condition is scaled to a root mean
            square of 1. The variance of the weights is then independent of the condition's scale.
        normalization: Normalization of a generated weight, before it is multiplied by its standard
            deviation and a learned gain. `"layer"`: to mean 0 and variance 1. `"rms"`: to a root
            mean square of 1. `"weight"`: as `"rms"` for each unit (column of a dense kernel,
            filter), with one gain per unit. `"batch"`: each element over a batch of conditions, as
            in `keras.layers.BatchNormalization`. None (default): no normalization.
        **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
        argument_names: Names of the arguments that `get_config` reads from attributes.
        shape_free: Whether one generator can make weights of different shapes.
        initializations: The allowed values of `initialization`.
        projects_pieces: Whether each piece of an embedding has its own projection of the condition.
        factors: Whether the generator makes low-rank factors of an inputs-by-units matrix.
        work: Number of intermediate values per piece. If positive, large weights are made in groups
            of pieces. Must be 0 if `call` is random.

    Call arguments:
        embedding: Tensor of shape `(..., pieces, embedding_dim)`.

    Output shape:
        `(..., pieces, size of a piece)`.

    Raises:
        ValueError: If an argument has an unsupported value.

    Examples:
        One sine wave per unit. Its embedding has an amplitude and a phase:

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
        >>> layer.count_params()  # Two parameters per unit, and the bias.
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
    # Size of a piece, for generators that crop the last pieces of a weight.
    _cropped_size: int = 0

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
            one_of("normalization", normalization, ("layer", "rms", "weight", "batch"))
        self.normalization = normalization
        self._warned_of: list[str] = []
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: self.embedding_dim})
        # Set by `prepare`: the shape if there is only one, and the initializer of the bias.
        self._weight_shape: tuple[int, ...] | None = None
        self._native: keras.Initializer | None = None

    def embedding_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> keras.Initializer:
        """Returns an initializer for the embedding of one weight."""
        return UnitRMS()

    def projection_initializer(self, condition_dim: int) -> keras.Initializer:
        """Returns an initializer for the projection of a condition onto an embedding."""
        # A condition of variance 1 has a projection of variance 1, like a learned embedding.
        return keras.initializers.RandomNormal(stddev=condition_dim**-0.5)

    def embedding_shape(self, weight_shape: Sequence[int]) -> tuple[int, int]:
        """Returns the shape `(pieces, width)` of an embedding. Raises for unsupported weights."""
        raise NotImplementedError(f"{type(self).__name__} must implement `embedding_shape`.")

    def assemble(self, pieces: Tensor, weight_shape: Sequence[int]) -> Tensor:
        """Assembles a weight from the output of `call`, and keeps its leading axes."""
        lead = ops.shape(pieces)[:-2]
        return ops.reshape(pieces, (*lead, *weight_shape))

    def assemble_all(
        self, pieces: Tensor, weight_shapes: Sequence[Sequence[int]], axis: int
    ) -> list[Tensor]:
        """Assembles several weights from their pieces, which are concatenated along `axis`."""
        counts = [self.embedding_shape(shape)[0] for shape in weight_shapes]
        # The gradient of a split is one concatenation, that of slices a sum of padded tensors.
        parts = ops.split(pieces, list(itertools.accumulate(counts))[:-1], axis=axis)
        return [self.assemble(part, s) for part, s in zip(parts, weight_shapes, strict=True)]

    def limits(self, weight_shape: Sequence[int]) -> dict[str, str]:
        """Returns the reasons why the generator does not fit a weight: a sentence for each kind."""
        size = math.prod(weight_shape)
        pieces, width = self.embedding_shape(weight_shape)
        limits = {}
        if pieces * width > size:
            limits["embeddings"] = (
                f"the embedding has {pieces * width:,} values, the weight only {size:,}"
            )
        if pieces * self._cropped_size > 2 * size:
            limits["unused"] = (
                f"only {size:,} of the {pieces * self._cropped_size:,} generated values are used"
            )
        return limits

    def warn_of_limits(self, weight_shape: Sequence[int], path: str) -> None:
        """Warns if the generator does not fit a weight, once for each kind of reason."""
        for kind, sentence in self.limits(weight_shape).items():
            if kind not in self._warned_of:
                self._warned_of.append(kind)
                warnings.warn(
                    f"{self} does not fit '{path}' of shape {weight_shape}: {sentence}. Ignore "
                    "this if it is intended. `keras_hyper.summary` lists all such weights.",
                    stacklevel=2,
                )

    def kernel(self, embedding: Tensor, weight_shape: Sequence[int]) -> Kernel:
        """Returns the weight for an embedding.

        For per-sample weights, `embedding` has the shape `(batch, pieces, width)`.
        """
        batched = len(embedding.shape) == 3
        return Full(self.assemble(self.pieces(embedding), weight_shape), batched)

    def pieces(self, embedding: Tensor) -> Tensor:
        """Calls the generator, with bounded memory.

        If `work` is positive and there are many pieces, they are made in groups, one after the
        other. In training, each group is rematerialized for its gradient.
        """
        count = embedding.shape[-2]
        samples = embedding.shape[0] if len(embedding.shape) == 3 else 1
        # An unknown batch size (None, or a symbol in JAX) counts as one.
        known = samples if isinstance(samples, int) else 1
        group = max(1, _NUMBERS_AT_ONCE // max(self.work * known, 1))
        if count <= group:
            return self(embedding)
        # A new function in each call: JAX caches traces by function, with the variables' values.
        make = keras.remat(lambda some: self(some))
        parts = [make(embedding[..., i : i + group, :]) for i in range(0, count, group)]
        return ops.concatenate(parts, axis=len(embedding.shape) - 2)

    def prepare(self, weight_shape: Sequence[int], initializer: keras.Initializer) -> float:
        """Returns the scale of a weight. The first call builds the generator.

        Raises:
            ValueError: If the generator does not support the weight, or was built for a weight of a
                different shape or initializer and cannot be shared.
        """
        weight_shape = tuple(weight_shape)
        self.embedding_shape(weight_shape)
        scale, native = self.match_initializer(weight_shape, initializer)
        if not self.built:
            self._build_for(None if self.shape_free else weight_shape, native)
        elif self._weight_shape not in (None, weight_shape):
            raise ValueError(
                f"{type(self).__name__} '{self.name}' makes weights of one shape, and was built "
                f"for {self._weight_shape}. Received: weight_shape={weight_shape}. Use one "
                "generator for each shape, or share one that serves every shape, such as "
                "TiledKernelGenerator."
            )
        elif initializer_key(native) != initializer_key(self._native):
            raise ValueError(
                f"{type(self).__name__} '{self.name}' is shared by layers with different initial "
                "kernels, but has only one bias. Received: "
                f"kernel_initializer={name_of(initializer)}. Use the same initializer and "
                "composition in these layers, or one generator for each layer."
            )
        return scale

    def match_initializer(
        self, weight_shape: Sequence[int], initializer: keras.Initializer
    ) -> tuple[float, keras.Initializer | None]:
        """Returns the standard deviation of a weight and None.

        If the bias of the generator starts as a draw from `initializer`, returns 1.0 and it.
        """
        scaling = isinstance(initializer, keras.initializers.VarianceScaling)
        if self.initialization == "native" or ("native" in self.initializations and not scaling):
            return 1.0, initializer
        return self.matching_std(weight_shape, initializer), None

    def matching_std(self, weight_shape: Sequence[int], initializer: keras.Initializer) -> float:
        """Returns the standard deviation of an initializer. Raises if it is unknown or zero."""
        std = weight_std(initializer, weight_shape)
        if not std:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' cannot match the initializer "
                f"{name_of(initializer)}: its standard deviation is unknown or zero. Use a "
                "VarianceScaling, RandomNormal, RandomUniform, TruncatedNormal or Orthogonal "
                "initializer with mean zero. LinearGenerator and MLPGenerator support all "
                "initializers."
            )
        return std

    def one_shape(self) -> tuple[int, ...]:
        """Returns the weight shape of a generator that serves a single shape."""
        if self._weight_shape is None:
            raise ValueError(
                f"{type(self).__name__} '{self.name}' makes weights of one shape, which it learns "
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
        """Returns the configuration for `build_from_config`."""
        if not self.built:
            return None
        native = self._native and keras.initializers.serialize(self._native)
        return with_sublayers({"weight_shape": self._weight_shape, "native": native}, self)

    def build_from_config(self, config: Config) -> None:
        """Creates the variables of a saved generator."""
        shape, native = config["weight_shape"], config["native"]
        self._build_for(
            None if shape is None else tuple(shape), native and keras.initializers.get(native)
        )
        restore_sublayers(config, self)

    def get_config(self) -> Config:
        """Returns the arguments to construct this generator again."""
        config: Config = super().get_config()
        return {**config, **{name: getattr(self, name) for name in self.argument_names}}


def initializer_key(native: keras.Initializer | None) -> object:
    """Returns a value that is equal for initializers that differ only in their seeds."""
    if not isinstance(native, keras.initializers.Initializer):
        return native
    return type(native), {**native.get_config(), "seed": None}
