"""All that belongs to one generated weight."""

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
    r"""One generated weight: what a layer has in place of a variable.

    `W = sigma G(e)` with a generator `G` that other weights may share, and all that belongs to this
    weight alone: its embedding, the projection of a condition onto it, the standard deviation
    `sigma`, and, where asked for, a base weight to compose with and the gain of a normalization.

    Static: `e` is a learned variable. Conditioned: `e = n(e_0 + P c)` with a learned `e_0`, a
    learned matrix `P` (the paper's equation 11) and `n(e) = e / rms(e)` over all components of the
    embedding, which a generator can switch off. Which of the two is fixed when it is built.

    Args:
        generator: The `Generator` that makes the weight.
        weight_shape: Tuple of integers, the shape of the weight.
        initializer: Keras initializer that an ordinary weight would have. The generated weight
            starts with its variance.
        regularizer: Keras regularizer of the generated weight. Static, it counts once, as that of a
            variable does. Conditioned, its mean over the samples is added at every call, which
            Keras allows outside of loops only: not inside the cell of a recurrent layer.
        composition: `"replace"`: the generated values `D` are the weight. `"add"`: `W_0 + g D`,
            `"multiply"`: `W_0 (1 + g D)`, with a stored `W_0` that starts as a draw of the
            initializer, and a learned gate `g` that starts at zero, so that training starts at
            `W_0`. `"scale"`: as `"multiply"`, with one generated factor for each unit.
        base_trainable: Whether `W_0` is trained.
        unit_axes: The axes of the weight that number its units, for `"scale"` and for weight
            normalization.
        input_axes: The axes of the weight that its product sums over, where they are not all but
            the last. A generator of factors then makes those of the matrix of these axes by the
            others.
        project_condition: Whether a condition is projected onto the embedding. If not, a condition
            as wide as the embedding takes its place. If the generator makes the weight in several
            pieces, it is added to the learned embedding of each.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        condition: None for a static weight, otherwise a tensor of shape `(batch, dim)` (a weight
            for each sample) or `(dim,)` (one weight for the batch).
        training: Boolean, for a generator that normalizes over the batch.

    Output shape:
        `weight_shape`, or `(batch, *weight_shape)` for a weight for each sample. Layers use
        `kernel(condition)` instead: a `keras_hyper.kernels.Kernel`, a value that knows how to
        multiply.

    Raises:
        TypeError: If `generator` is no `Generator`.
        ValueError: If `composition` or `unit_axes` have no meaning, or if the condition does not
            fit, at the call.

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
        if generator is None:
            raise TypeError("`generator` must be a keras_hyper Generator. Received: generator=None")
        if isinstance(generator, dict):  # A layer is shared by the owner of this weight.
            generator = deserialize_shared(generator, self)
        self.generator = as_generator(generator)
        self.weight_shape = positive_ints("weight_shape", weight_shape)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.unit_axes = as_unit_axes(unit_axes, len(self.weight_shape))
        self.project_condition = bool(project_condition)
        # What the generator is asked for, which may be less than the weight.
        self.generated_shape, self.generated_initializer = generated_part(
            self.weight_shape, self.initializer, self.composition, self.unit_axes
        )
        self.input_axes = None if input_axes is None else tuple(input_axes)
        self._rows = self._columns = tuple[int, ...]()
        matrix = matrix_part(self.weight_shape, self.generated_initializer, self.input_axes)
        if self.generator.factors and self.generated_shape == self.weight_shape and matrix:
            self._rows, self._columns, self.generated_shape, self.generated_initializer = matrix
        self.generated_unit_axes = (1,) if self._columns else self.unit_axes
        # A variable, or a number. One that is set before `build` is kept, and shared.
        self.base: Tensor = None
        # Whether a quantized layer has the base, and adds what is generated.
        self.base_outside = False
        self.gate: Tensor = None
        self.normalizer: WeightNormalization | None = None
        self.embedding: Tensor = None
        self.projection: keras.Layer | None = None
        self.condition_dim: int | None = None
        self.scale = 1.0

    @property
    def matrix_axes(self) -> tuple[Sequence[int], Sequence[int]]:
        """The axes of the weight that are the rows of its factors, and those of their columns."""
        last = max(len(self.weight_shape) - 1, 0)
        return (self._rows, self._columns) if self._columns else (range(last), (last,))

    @property
    def conditioned(self) -> bool:
        """Whether the weight depends on a condition."""
        return self.condition_dim is not None

    def build(self, condition_shape: Shape | None = None) -> None:
        """Creates the embedding and, with a condition, its projection."""
        # At the root: a generator that layers share has one path, whichever is built first.
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
                regularizer=PenaltyOfWeight(self._penalty) if static and self.regularizer else None,
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
                "An embedding of one number, scaled to a root mean square of 1, is only a "
                f"sign and cannot carry a condition. Received: {self.generator} with "
                "embedding_dim=1. Use embedding_dim=2 or more, or normalize_condition=False."
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
                f"embeddings of width {width}. Set embedding_dim, or let a layer of the condition "
                "change its width."
            )

    def _build_normalizer(self, kind: str) -> None:
        check_normalization(self, kind)
        # The generator's own start, native or the paper's, is normalized away.
        self.scale = weight_std(self.generated_initializer, self.generated_shape) or 1.0
        self.normalizer = WeightNormalization(
            kind, self.generated_unit_axes, dtype=self.dtype_policy, name="normalization"
        )
        self.normalizer.build(self.generated_shape)

    def embed(self, condition: Tensor | None = None) -> Tensor:
        """Returns the embedding: `(pieces, width)`, or `(batch, pieces, width)`.

        Args:
            condition: None, or a tensor of shape `(dim,)` or `(batch, dim)`.
        """
        check_condition(condition, self.condition_dim, self.path)
        pieces, width = self.generator.embedding_shape(self.generated_shape)
        embedding = None
        if self.embedding is not None:
            # As another tensor: on TensorFlow a quantized layer's custom gradient must not
            # meet a variable.
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
        """Returns a variable in the compute dtype, also where another layer's is in force."""
        variable = getattr(self, name)
        dtype = keras.backend.standardize_dtype(variable.dtype)
        if dtype in (self.variable_dtype, self.compute_dtype):
            return ops.cast(variable, self.compute_dtype)
        return self(read=name)  # A call has the dtypes of this layer.

    def call(
        self,
        condition: Tensor | None = None,
        training: bool | None = None,
        read: str | None = None,
    ) -> Tensor:
        """Returns the weight as a tensor; or the variable `read`, in the compute dtype."""
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
        """Returns the weight as a value that knows how to multiply: for the `call` of layers.

        Args:
            condition: As in a call.
            training: Boolean, for a generator that normalizes over the batch. None for that of the
                layer which is called.
            penalize: Whether the regularizer of a conditioned weight adds its loss.
            adapted: Tensor of shape `()` or `(batch,)`, by which the change of the base is
                multiplied: 0 for the base alone.

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
                self.add_loss(penalty(self.regularizer, kernel, self.variable_dtype))
        report(self, kernel)
        return kernel

    def scale_and_compose(
        self, kernel: Kernel, training: bool | None = None, adapted: Tensor | None = None
    ) -> Kernel:
        """Returns the weight, from what the generator made: normalized, scaled, composed.

        Args:
            kernel: What `generator.kernel(embed(condition), generated_shape)` returned.
            training: Boolean, for a generator that normalizes over the batch.
            adapted: As for `kernel`.
        """
        kernel = kernel.cast(self.compute_dtype)
        if self.normalizer is not None:
            # An argument of None would hide the mode of the layer that is called.
            mode = {} if training is None else {"training": training}
            rank = len(self.generated_shape)
            weight = self.normalizer(kernel.materialize(), rank=rank, **mode)
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
        # A constant zero would cost a sum, and the gradient of one.
        base = None if isinstance(self.base, float) and not self.base else self.base_value()
        return compose(self.composition, base, change, self.unit_axes)

    def base_value(self) -> Tensor:
        """Returns the stored weight of a composition as a tensor."""
        if isinstance(self.base, float):
            return ops.full(self.weight_shape, self.base, dtype=self.compute_dtype)
        return self._read("base")

    def limits(self) -> dict[str, str]:
        """Returns why the generator does not fit this weight, by kind, with figures."""
        return self.generator.limits(self.generated_shape)

    def _penalty(self) -> Tensor:
        """Returns the penalty of a static weight."""
        return penalty(self.regularizer, self.kernel(), self.variable_dtype)

    def get_config(self) -> Config:
        """Returns the arguments to construct this weight again."""
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
