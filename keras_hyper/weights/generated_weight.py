"""Generated weight of a layer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.generators import Generator
from keras_hyper.initializers import weight_std
from keras_hyper.kernels import Full, Kernel
from keras_hyper.ops import rms_normalize
from keras_hyper.saving import deserialize_shared, serializable, serialize_shared
from keras_hyper.typing import Config, Initializer, Regularizer, Shape, Tensor
from keras_hyper.utils.checks import positive_ints
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer
from keras_hyper.weights.checks import (
    as_generator,
    as_unit_axes,
    check_condition,
    check_condition_shape,
)
from keras_hyper.weights.composition import as_composition, compose, generated_part, matrix_part
from keras_hyper.weights.normalization import WeightNormalization, check_normalization
from keras_hyper.weights.penalty import PenaltyOfWeight, penalty
from keras_hyper.weights.scopes import given, report


@serializable
class GeneratedWeight(PolicyLayer):
    r"""Generated weight: replaces a variable of a layer.

    `W = sigma G(e)`, with a generator `G` that several weights may share. The embedding `e`, the
    projection of a condition onto it, and the standard deviation `sigma` belong to this weight. So
    do the optional base weight and the gain of a normalization.

    For a static weight, `e` is a learned variable. For a conditioned weight, `e = n(e_0 + P c)`
    with a learned `e_0` and a learned matrix `P` (equation 11 of Ha, Dai & Le). `n(e) = e / rms(e)`
    over all components of the embedding, unless the generator disables it. `build` fixes whether
    the weight is static or conditioned.

    Args:
        generator: The `Generator` of the weight.
        weight_shape: Tuple of integers, the shape of the weight.
        initializer: Keras initializer of an ordinary weight. The generated weight starts with its
            variance.
        regularizer: Keras regularizer of the generated weight. For a static weight it counts once.
            For a conditioned weight, every call adds its mean over the samples, which is
            unsupported inside recurrent cells.
        composition: `"replace"`: the generated values `D` are the weight. `"add"`: `W_0 + g D`.
            `"multiply"`: `W_0 (1 + g D)`. `"scale"`: `W_0 (1 + g D)` with one generated value for
            each unit. `initializer` initializes the stored `W_0`. The learned gate `g` starts at
            zero, so training starts at `W_0`.
        base_trainable: Whether `W_0` is trainable.
        unit_axes: The axes of the weight that index its units, for `"scale"` and for weight
            normalization.
        input_axes: The axes of the weight that its product sums over. None (default): all axes but
            the last. Low-rank generators factorize the weight as a matrix with these axes as rows.
        project_condition: Whether to project a condition onto the embedding. If False, the
            condition must be as wide as the embedding and replaces it. If the generator makes the
            weight in several pieces, the condition is added to their learned embeddings.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        condition: None for a static weight. Otherwise a tensor of shape `(batch, dim)` for
            per-sample weights, or `(dim,)` for one weight for the batch.
        training: Boolean, for a generator that normalizes over the batch.

    Output shape:
        `weight_shape`, or `(batch, *weight_shape)` for per-sample weights. Layers use
        `kernel(condition)` instead, which returns a `keras_hyper.kernels.Kernel`.

    Raises:
        TypeError: If `generator` is not a `Generator`.
        ValueError: If `composition` or `unit_axes` is invalid, or the condition of a call does not
            fit.

    Examples:
        >>> import keras
        >>> from keras_hyper import GeneratedWeight, LinearGenerator
        >>> weight = GeneratedWeight(LinearGenerator(), weight_shape=(5, 3))
        >>> weight.build(None)
        >>> tuple(weight().shape)
        (5, 3)
        >>> tuple(weight.kernel().dense(keras.ops.ones((2, 5))).shape)
        (2, 3)
    """

    def __init__(
        self,
        generator: Generator,
        weight_shape: Sequence[int],
        initializer: Initializer = "glorot_uniform",
        regularizer: Regularizer = None,
        composition: str = "replace",
        base_trainable: bool = True,
        unit_axes: Sequence[int] = (-1,),
        input_axes: Sequence[int] | None = None,
        project_condition: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(generator, dict):  # Generators are shared by the owner of this weight.
            generator = deserialize_shared(generator, self)
        self.generator = as_generator(generator)
        self.weight_shape = positive_ints("weight_shape", weight_shape)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.unit_axes = as_unit_axes(unit_axes, len(self.weight_shape))
        self.project_condition = bool(project_condition)
        # The generated part may be smaller than the weight.
        self.generated_shape, self.generated_initializer = generated_part(
            self.weight_shape, self.initializer, self.composition, self.unit_axes
        )
        self.input_axes = None if input_axes is None else tuple(input_axes)
        self._rows = self._columns = tuple[int, ...]()
        matrix = matrix_part(self.weight_shape, self.generated_initializer, self.input_axes)
        if self.generator.factors and self.generated_shape == self.weight_shape and matrix:
            self._rows, self._columns, self.generated_shape, self.generated_initializer = matrix
        self.generated_unit_axes = (1,) if self._columns else self.unit_axes
        # A variable or a number. `build` keeps a base that was set before.
        self.base: Tensor = None
        # Whether a quantized layer holds the base and adds the generated change.
        self.base_outside = False
        self.gate: Tensor = None
        self.normalizer: WeightNormalization | None = None
        self.embedding: Tensor = None
        self.projection: keras.Layer | None = None
        self.condition_dim: int | None = None
        self.scale = 1.0

    @property
    def matrix_axes(self) -> tuple[Sequence[int], Sequence[int]]:
        """The axes of the weight that are the rows and the columns of its factors."""
        last = max(len(self.weight_shape) - 1, 0)
        return (self._rows, self._columns) if self._columns else (range(last), (last,))

    @property
    def conditioned(self) -> bool:
        """Whether the weight depends on a condition."""
        return self.condition_dim is not None

    def build(self, condition_shape: Shape | None = None) -> None:
        """Creates the variables of the weight."""
        # The paths of a shared generator must not depend on the layer that is built first.
        with keras.name_scope("", override_parent=""):
            self.scale = self.generator.prepare(self.generated_shape, self.generated_initializer)
        pieces, width = self.generator.embedding_shape(self.generated_shape)
        static = condition_shape is None
        if static or self.project_condition or pieces > 1:
            self.embedding = self.add_weight(
                name="embedding",
                shape=(pieces, width),
                initializer=self.generator.embedding_initializer(
                    self.generated_shape, self.generated_initializer
                ),
                regularizer=PenaltyOfWeight(self) if static and self.regularizer else None,
            )
        if condition_shape is not None:
            self._build_for_condition(condition_shape, pieces, width)
        if self.generator.normalization is not None:
            self._build_normalizer(self.generator.normalization)
        if self.composition != "replace":
            if self.base is None and not self.base_outside:
                self.base = self.add_weight(
                    name="base",
                    shape=self.weight_shape,
                    initializer=self.initializer,
                    trainable=self.base_trainable,
                )
            self.gate = self.add_weight(name="gate", shape=(), initializer="zeros")
        freeze_what_is_new(self)

    def _build_for_condition(self, condition_shape: Shape, pieces: int, width: int) -> None:
        check_condition_shape(condition_shape)
        dim = self.condition_dim = int(condition_shape[-1] or 0)
        if pieces * width == 1 and self.generator.normalize_condition:
            raise ValueError(
                "An embedding of one number is only a sign after normalization and cannot encode "
                f"a condition. Received: {self.generator} with embedding_dim=1. Use "
                "embedding_dim=2 or more, or normalize_condition=False."
            )
        if self.project_condition:
            self.projection = keras.layers.Dense(
                width * (pieces if self.generator.projects_pieces else 1),
                use_bias=False,
                kernel_initializer=self.generator.projection_initializer(dim),
                dtype=self.dtype_policy,
                name="projection",
            )
            self.projection.build((None, dim))
        elif dim != width:
            raise ValueError(
                "A condition for each weight must be as wide as the embeddings of the "
                f"generator. Received: a condition of width {dim}, and {self.generator} with "
                f"embeddings of width {width}. Change embedding_dim, or the width of the condition."
            )

    def _build_normalizer(self, kind: str) -> None:
        check_normalization(self, kind)
        # Normalization removes the scale of the generator.
        self.scale = weight_std(self.generated_initializer, self.generated_shape) or 1.0
        self.normalizer = WeightNormalization(
            kind, self.generated_unit_axes, dtype=self.dtype_policy, name="normalization"
        )
        self.normalizer.build(self.generated_shape)

    def embed(self, condition: Tensor | None = None) -> Tensor:
        """Returns the embedding, of shape `(pieces, width)` or `(batch, pieces, width)`."""
        check_condition(condition, self.condition_dim, self.path)
        pieces, width = self.generator.embedding_shape(self.generated_shape)
        embedding = None
        if self.embedding is not None:
            # TensorFlow's custom gradients of quantized layers do not support variables.
            embedding = ops.reshape(self._read("embedding"), (pieces, width))
        if condition is None:
            return embedding
        rows = condition if len(condition.shape) == 2 else ops.expand_dims(condition, 0)
        if self.projection is not None:
            shifts = pieces if self.generator.projects_pieces else 1
            shift = ops.reshape(self.projection(rows), (ops.shape(rows)[0], shifts, width))
        else:
            shift = ops.expand_dims(ops.cast(rows, self.compute_dtype), 1)
        embedding = shift if embedding is None else embedding + shift
        if self.generator.normalize_condition:
            embedding = rms_normalize(embedding, axis=(-2, -1))
        return embedding if len(condition.shape) == 2 else ops.reshape(embedding, (pieces, width))

    def _read(self, name: str) -> Tensor:
        """Returns a variable in the compute dtype, also in the autocast scope of another layer."""
        variable = getattr(self, name)
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if dtype in (self.variable_dtype, self.compute_dtype):
            return ops.cast(variable, self.compute_dtype)
        return self(read=name)  # A call opens the autocast scope of this layer.

    def call(
        self,
        condition: Tensor | None = None,
        training: bool | None = None,
        read: str | None = None,
    ) -> Tensor:
        """Returns the weight as a tensor, or the variable `read` in the compute dtype."""
        if read is not None:
            return ops.cast(getattr(self, read), self.compute_dtype)
        return self.kernel(condition, training).materialize()

    def kernel(
        self,
        condition: Tensor | None = None,
        training: bool | None = None,
        penalize: bool = True,
        adapted: Tensor | None = None,
    ) -> Kernel:
        """Returns the weight as a `Kernel`, for the `call` of layers.

        Args:
            condition: None, or a tensor of shape `(dim,)` or `(batch, dim)`.
            training: Boolean, for a generator that normalizes over the batch. None (default): the
                mode of the layer that is called.
            penalize: Whether the regularizer of a conditioned weight adds its loss.
            adapted: Tensor of shape `()` or `(batch,)`, a factor of the change of the base: 0 for
                the base alone.

        Raises:
            ValueError: If the weight is not built, or the condition does not fit.
        """
        if not self.built:
            raise ValueError(f"'{self.name}' is not built. Call `build(condition_shape)` first.")
        kernel: Kernel | None = given(self)
        if kernel is None:
            made = self.generator.kernel(self.embed(condition), self.generated_shape)
            kernel = self.scale_and_compose(made, training, adapted)
            if penalize and self.regularizer is not None and self.conditioned:
                self.add_loss(penalty(self, kernel))
        report(self, kernel)
        return kernel

    def scale_and_compose(
        self, kernel: Kernel, training: bool | None = None, adapted: Tensor | None = None
    ) -> Kernel:
        """Returns the `Kernel` of the generator after normalization, scaling and composition."""
        kernel = kernel.cast(self.compute_dtype)
        if self.normalizer is not None:
            # `training=None` would override the mode of the layer that is called.
            mode = {} if training is None else {"training": training}
            weight = self.normalizer(kernel.materialize(), **mode)
            kernel = Full(weight, kernel.batched)
        if self._columns:
            kernel = kernel.from_matrix(self.weight_shape, self._rows, self._columns)
        if self.composition == "replace":
            return kernel.scaled(self.scale)
        change = kernel.scaled(self.scale * self._read("gate"))
        if adapted is not None:
            adapted = ops.cast(adapted, self.compute_dtype)
            change = (change.weighted if len(adapted.shape) else change.scaled)(adapted)
        if self.base_outside:
            return change
        # Adding a constant zero would cost time.
        base = None if isinstance(self.base, float) and not self.base else self.base_value()
        return compose(self.composition, base, change, self.unit_axes)

    def base_value(self) -> Tensor:
        """Returns the stored weight of a composition as a tensor."""
        if isinstance(self.base, float):
            return ops.full(self.weight_shape, self.base, dtype=self.compute_dtype)
        return self._read("base")

    def limits(self) -> dict[str, str]:
        """Returns a dict from kind to reason why the generator does not fit this weight."""
        return self.generator.limits(self.generated_shape)

    def get_config(self) -> Config:
        """Returns the arguments of the constructor."""
        config = {
            "generator": serialize_shared(self.generator, self),
            "weight_shape": self.weight_shape,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "composition": self.composition,
            "base_trainable": self.base_trainable,
            "unit_axes": self.unit_axes,
            "input_axes": self.input_axes,
            "project_condition": self.project_condition,
        }
        return {**super().get_config(), **config}
