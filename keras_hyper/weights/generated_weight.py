"""All that belongs to one generated weight."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from keras_hyper.generators import Generator
from keras_hyper.initializers import weight_std
from keras_hyper.kernels import Full, Kernel, as_shape
from keras_hyper.ops import rms_normalize
from keras_hyper.saving import deserialize_shared, serializable, serialize_shared
from keras_hyper.utils.checks import floating, name_of, positive_ints
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer
from keras_hyper.weights.composition import as_composition, compose, generated_part, of_std
from keras_hyper.weights.normalization import WeightNormalization
from keras_hyper.weights.scopes import given, report


@dataclasses.dataclass
class _Form:
    """What a call that returns the tensors of a kernel leaves besides."""

    penalize: bool
    kernel: Any = None


_form: ContextVar[_Form | None] = ContextVar("keras_hyper_form", default=None)


@serializable
class GeneratedWeight(PolicyLayer):
    r"""One generated weight: what a layer has in place of a variable.

    `W = sigma G(e)` with a generator `G` that other weights may share, and all
    that belongs to this weight alone: its embedding, the projection of a
    condition onto it, the standard deviation `sigma`, and, where asked for, a
    base weight to compose with and the gain of a normalisation.

    Static: `e` is a learned variable. Conditioned: `e = n(e_0 + P c)` with a
    learned `e_0`, a learned matrix `P` (the paper's equation 11) and
    `n(e) = e / rms(e)` over all numbers of the embedding, which a generator can
    switch off. Which of the two is fixed when it is built.

    Args:
        generator: The `Generator` that makes the weight.
        weight_shape: Tuple of integers, the shape of the weight.
        initializer: Keras initializer that an ordinary weight would have. The
            generated weight starts with its variance.
        regularizer: Keras regularizer of the generated weight. Static, it counts
            once, as that of a variable does. Conditioned, its mean over the
            samples is added at every call, which Keras allows outside of loops
            only: not inside the cell of a recurrent layer.
        composition: `"replace"`: the generated numbers `D` are the weight.
            `"add"`: `W_0 + g D`, `"multiply"`: `W_0 (1 + g D)`, with a stored
            `W_0` that starts as a draw of the initializer, and a learned gate
            `g` that starts at zero, so that training starts at `W_0`. `"scale"`:
            as `"multiply"`, with one generated number for each unit.
        base_trainable: Whether `W_0` is trained.
        unit_axes: The axes of the weight that number its units, for `"scale"`
            and for weight normalisation.
        input_axes: The axes of the weight that its product sums over, where they are not
            all but the last. A generator of factors then makes those of the matrix of
            these axes by the others.
        project_condition: Whether a condition is projected onto the embedding. If not, a
            condition as wide as the embedding takes its place. If the generator makes the
            weight in several pieces, it is added to the learned embedding of each.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        condition: None for a static weight, otherwise a tensor of shape
            `(batch, dim)` (a weight for each sample) or `(dim,)` (one weight
            for the batch).
        training: Boolean, for a generator that normalises over the batch.

    Output shape:
        `weight_shape`, or `(batch, *weight_shape)` for a weight for each sample. Layers use
        `kernel(condition)` instead: a `keras_hyper.kernels.Kernel`, a value that knows how to
        multiply.

    Raises:
        TypeError: If `generator` is no `Generator`.
        ValueError: If `composition` or `unit_axes` have no meaning, or if the
            condition does not fit, at the call.

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
        initializer: Any = "glorot_uniform",
        regularizer: Any = None,
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
        # Given as a layer, it is the owner of this weight that shares it.
        given_as_config = isinstance(generator, dict)
        self.generator = as_generator(
            deserialize_shared(generator, self) if given_as_config else generator
        )
        self.weight_shape = positive_ints("weight_shape", weight_shape)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.unit_axes = _axes(unit_axes, len(self.weight_shape))
        self.project_condition = bool(project_condition)
        # What the generator is asked for, which may be less than the weight.
        self.generated_shape, self._start = generated_part(
            self.weight_shape, self.initializer, self.composition, self.unit_axes
        )
        self.input_axes = None if input_axes is None else tuple(input_axes)
        self._rows, self._columns = self._as_matrix()
        # A variable, or a number. One that is set before `build` is kept, and shared.
        self.base: Any = None
        # Whether a quantized layer has the base, and adds what is generated.
        self.base_outside = False
        self.gate: Any = None
        self.normalizer: Any = None
        self.embedding: Any = None
        self.projection: Any = None
        self.condition_dim: int | None = None
        self.scale = 1.0

    def _as_matrix(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Asks the generator for a matrix, and returns its axes; both empty if it is not asked."""
        rank = len(self.weight_shape)
        rows = self.input_axes
        whole = self.generated_shape == self.weight_shape
        if rows is None or rows == tuple(range(rank - 1)) or not whole:
            return (), ()
        std = weight_std(self._start, self.weight_shape)
        if not self.generator.factors or not std:
            return (), ()
        columns = tuple(axis for axis in range(rank) if axis not in rows)
        self.generated_shape = as_shape(self.weight_shape, rows, columns)
        self._start = of_std(std, self.generated_shape)
        return rows, columns

    @property
    def conditioned(self) -> bool:
        """Whether the weight depends on a condition."""
        return self.condition_dim is not None

    def build(self, condition_shape: Sequence[int | None] | None = None) -> None:
        """Creates the embedding and, with a condition, its projection."""
        self.scale = self.generator.prepare(self.generated_shape, self._start)
        pieces, width = self.generator.embedding_shape(self.generated_shape)
        static = condition_shape is None
        if static or self.project_condition or pieces > 1:
            self.embedding = self.add_weight(
                name="embedding",
                shape=(pieces, width),
                initializer=self.generator.embedding_initializer(self.generated_shape, self._start),
                # A penalty that hangs on a variable counts once, however often, and
                # wherever, the layer is called. It looks at the generated weight.
                regularizer=_Penalty(self) if static and self.regularizer else None,
            )
        if condition_shape is not None:
            check_condition_shape(condition_shape)
            self.condition_dim = int(condition_shape[-1] or 0)
            if pieces * width == 1 and self.generator.normalize_condition:
                raise ValueError(
                    "An embedding of one number, scaled to a root mean square of 1, is only a "
                    f"sign and cannot carry a condition. Received: {self.generator} with "
                    "embedding_dim=1. Use embedding_dim=2 or more, or normalize_condition=False."
                )
            if self.project_condition:
                self._build_projection(
                    self.condition_dim, width * (pieces if self.generator.projects_pieces else 1)
                )
            elif self.condition_dim != width:
                raise ValueError(
                    f"A condition for each weight must be as wide as the embeddings of the "
                    f"generator. Received: a condition of width {self.condition_dim}, and "
                    f"{self.generator} with embeddings of width {width}. Set embedding_dim, or let "
                    "a layer of the condition change its width."
                )
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

    def _build_projection(self, width: int, units: int) -> None:
        self.projection = keras.layers.Dense(
            units,
            use_bias=False,
            kernel_initializer=self.generator.projection_initializer(width),
            dtype=self.dtype_policy,
            name="projection",
        )
        self.projection.build((None, width))

    def _build_normalizer(self, kind: str) -> None:
        if kind == "batch" and not self.conditioned:
            raise ValueError(
                "normalization='batch' is over the weight sets of a batch of conditions. Received: "
                f"{self.generator} with it, for '{self.path}', which has no condition. Use "
                "'layer', 'rms' or 'weight'."
            )
        std = weight_std(self._start, self.generated_shape)
        if not std:
            raise ValueError(
                f"Normalised weights cannot match the initializer {name_of(self.initializer)} of "
                f"'{self.path}': its standard deviation is not known, or zero."
            )
        shape = self.generated_shape
        units = self.unit_axes if kind == "weight" else ()
        together = math.prod(n for axis, n in enumerate(shape) if axis not in units)
        if together == 1 and kind != "batch":
            raise ValueError(
                f"normalization={kind!r} of one number leaves at most its sign. Received: "
                f"{self.generator} with it, for '{self.path}', where it makes numbers of shape "
                f"{shape}{', each of them a unit' if units else ''}. Use another normalization, "
                "or None."
            )
        # The generator's own start, native or the paper's, is normalised away.
        self.scale = std
        self.normalizer = WeightNormalization(
            kind, self.unit_axes, dtype=self.dtype_policy, name="normalization"
        )
        self.normalizer.build(self.generated_shape)

    def embed(self, condition: Any = None) -> Any:
        """Returns the embedding: `(pieces, width)`, or `(batch, pieces, width)`.

        Args:
            condition: None, or a tensor of shape `(dim,)` or `(batch, dim)`.
        """
        self.check_condition(condition)
        pieces, width = self.generator.embedding_shape(self.generated_shape)
        embedding: Any = None
        if self.embedding is not None:
            # A tensor, where TensorFlow would hand the variable itself on: a quantized
            # generator has a custom gradient, which must not meet a variable.
            embedding = ops.cast(ops.reshape(self.embedding, (pieces, width)), self.compute_dtype)
        if condition is None:
            return embedding
        rows = condition if len(condition.shape) == 2 else ops.expand_dims(condition, 0)
        if self.project_condition:
            shifts = pieces if self.generator.projects_pieces else 1
            shift = ops.reshape(self.projection(rows), (ops.shape(rows)[0], shifts, width))
        else:
            shift = ops.expand_dims(ops.cast(rows, self.compute_dtype), 1)
        embedding = shift if embedding is None else embedding + shift
        if self.generator.normalize_condition:
            embedding = rms_normalize(embedding, axis=(-2, -1))
        return embedding if len(condition.shape) == 2 else ops.reshape(embedding, (pieces, width))

    def call(self, condition: Any = None, training: Any = None, parts: Any = None) -> Any:
        """Returns the weight as a tensor. With `parts=()`, the tensors that a kernel holds."""
        form = None if parts is None else _form.get()
        kernel = given(self)
        if kernel is None:
            kernel = self.generator.kernel(self.embed(condition), self.generated_shape)
            kernel = self.finish(kernel, training)
            penalize = parts is None or (form is not None and form.penalize)
            if penalize and self.regularizer is not None and self.conditioned:
                self.add_loss(self.penalty(kernel))
        if parts is None:
            report(self, kernel)
            return kernel.materialize()
        if form is not None:  # None where a rematerialized call runs again.
            form.kernel = kernel
        return kernel.tensors()

    def kernel(self, condition: Any = None, training: Any = None, penalize: bool = True) -> Kernel:
        """Returns the weight as a value that knows how to multiply: for layers.

        Args:
            condition: As in a call.
            training: Boolean, for a generator that normalizes over the batch. None for that
                of the layer which is called.
            penalize: Whether the regularizer of a conditioned weight adds its loss.

        Raises:
            ValueError: If the weight is not built, or the condition does not fit.
        """
        if not self.built:
            raise ValueError(f"'{self.name}' is not built. Call `build(condition_shape)` first.")
        # By a call, which has the dtypes of this layer. Only tensors go in and out of it.
        form = _Form(penalize)
        mode = {} if training is None else {"training": training}
        token = _form.set(form)
        try:
            tensors = self(condition, parts=(), **mode)
        finally:
            _form.reset(token)
        kernel: Kernel = form.kernel.with_tensors(iter(tensors))
        report(self, kernel)
        return kernel

    def finish(self, kernel: Kernel, training: Any = None) -> Kernel:
        """Returns the weight, from what the generator made: normalised, scaled, composed.

        Args:
            kernel: What `generator.kernel(embed(condition), generated_shape)` returned.
            training: Boolean, for a generator that normalises over the batch.
        """
        kernel = kernel.cast(self.compute_dtype)
        if self.normalizer is not None:
            rank = len(self.generated_shape)
            weight = self.normalizer(kernel.materialize(), rank=rank, training=training)
            kernel = Full(weight, kernel.batched)
        if self._columns:
            kernel = kernel.from_matrix(self.weight_shape, self._rows, self._columns)
        if self.composition == "replace":
            kernel = kernel.scaled(self.scale)
        else:
            gate = ops.cast(self.gate, self.compute_dtype)
            if self.base_outside:
                return kernel.scaled(self.scale * gate)
            if isinstance(self.base, float) and not self.base:
                base = None  # A constant zero, which costs a sum and its gradient.
            elif isinstance(self.base, float):
                base = ops.full(self.weight_shape, self.base, dtype=self.compute_dtype)
            else:
                base = ops.cast(self.base, self.compute_dtype)
            change = kernel.scaled(self.scale * gate)
            kernel = compose(self.composition, base, change, self.unit_axes)
        return kernel

    def limits(self) -> dict[str, str]:
        """Returns why the generator does not fit this weight, by kind, with figures."""
        return self.generator.limits(self.generated_shape)

    def warn_of_limits(self) -> None:
        """Warns if the generator does not fit this weight, once for each kind of reason."""
        for kind, sentence in self.limits().items():
            if kind not in self.generator.warned_of:
                self.generator.warned_of.append(kind)
                warnings.warn(
                    f"{self.generator} does not fit '{self.path}' of shape {self.generated_shape}: "
                    f"{sentence}. `keras_hyper.summary` tells this of every weight; it is a defect "
                    "only if you did not mean it.",
                    stacklevel=2,
                )

    def penalty(self, kernel: Kernel) -> Any:
        """Returns what the regularizer says of a weight; its mean over the samples.

        Args:
            kernel: What `kernel` returned.
        """
        # In the type of the variables, as for a variable.
        weight = ops.cast(kernel.materialize(), self.variable_dtype)
        if kernel.batched:
            count = ops.shape(weight)[0]
            if isinstance(count, int) and count == 0:
                return 0 * ops.sum(weight)  # PyTorch cannot map over no samples.
            penalties = ops.vectorized_map(self.regularizer, weight)
            return ops.sum(penalties) / ops.cast(ops.maximum(count, 1), penalties.dtype)
        return self.regularizer(weight)

    def check_condition(self, condition: Any) -> None:
        """Raises if the condition is not what this weight was built for."""
        if condition is None:
            if self.conditioned:
                raise ValueError(
                    f"'{self.path}' was built with a condition of width {self.condition_dim} and "
                    "needs one at every call. Received: condition=None. Pass `condition=`, or "
                    "make another layer for weights without a condition."
                )
            return
        if not self.conditioned:
            raise ValueError(
                f"'{self.path}' was built without a condition. Received: `condition` of shape "
                f"{tuple(condition.shape)}. Whether a layer is static or conditioned is fixed by "
                "its first call: make another layer and call it with the condition from the start."
            )
        check_condition_shape(condition.shape)
        if condition.shape[-1] != self.condition_dim:
            raise ValueError(
                f"'{self.path}' was built for a `condition` of width {self.condition_dim}. "
                f"Received: `condition` of shape {tuple(condition.shape)}. The first call sets the "
                "width: pass a condition of that width, or make another layer for this one."
            )
        floating("condition", condition, "Task ids go through keras_hyper.TaskEmbedding.")

    def get_config(self) -> dict[str, Any]:
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


def _axes(axes: Any, rank: int) -> tuple[int, ...]:
    """Returns `unit_axes` counted from the front, or raises if the weight lacks one."""
    axes = (axes,) if isinstance(axes, int) else tuple(axes)
    if rank == 0:
        return ()  # A single number has no axes, and is a unit itself.
    if not axes or not all(isinstance(axis, int) and -rank <= axis < rank for axis in axes):
        raise ValueError(
            f"`unit_axes` must name one or more of the {rank} axes of the weight. Received: "
            f"unit_axes={axes}"
        )
    return tuple(axis % rank for axis in axes)


class _Penalty(keras.regularizers.Regularizer):
    """The regularizer of a variable that looks at the weight generated from it."""

    def __init__(self, weight: GeneratedWeight) -> None:
        self._weight = weight

    def __call__(self, embedding: Any) -> Any:
        return self._weight.penalty(self._weight.kernel())


def as_generator(generator: Any) -> Generator:
    """Returns a generator, or raises if it is none."""
    if not isinstance(generator, Generator):
        raise TypeError(
            "`generator` must be a keras_hyper Generator, such as LinearGenerator() or "
            f"TiledKernelGenerator(...), or None. Received: generator={generator!r} (of type "
            f"{type(generator).__name__})"
        )
    return generator


def check_condition_type(condition: Any) -> None:
    """Raises if a condition is neither None nor a tensor or an array."""
    if condition is not None and not hasattr(condition, "shape"):
        raise TypeError(
            "`condition` must be a tensor or an array. Received: "
            f"condition={condition!r} (of type {type(condition).__name__}). Task ids go through "
            "keras_hyper.TaskEmbedding."
        )


def check_condition_shape(shape: Sequence[int | None]) -> None:
    """Raises if a condition of this shape can never be one."""
    if len(shape) not in (1, 2) or not shape[-1]:
        raise ValueError(
            "`condition` must have shape (batch, dim), for weights of each sample's own, or "
            "(dim,), for one set of weights for the batch, with a known dim. Received: "
            f"`condition` of shape {tuple(shape)}"
        )
