"""Base of the layers with generated weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.application import apply_layer
from keras_hyper.generators import DirectGenerator, Generator, default_generator
from keras_hyper.kernels import Full, Kernel
from keras_hyper.layers.stock_twin import HasStockTwin
from keras_hyper.ops import same_batch, with_known_rank
from keras_hyper.saving import deserialize_shared, serialize_shared
from keras_hyper.saving.sublayers import restore_sublayers, with_sublayers
from keras_hyper.typing import Config, Shape, Tensor
from keras_hyper.utils.checks import floating, name_of, numeric, positive_int
from keras_hyper.utils.constants import warn_of_constants
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import product_dtype
from keras_hyper.weights import (
    GeneratedWeight,
    as_composition,
    as_generator,
    check_condition,
    check_condition_shape,
    check_condition_type,
    generated_part,
    held_weights,
)


class HyperLayer(HasStockTwin):
    """Base of the layers with generated weights.

    A hyper layer inherits from this class and from its stock twin, in that order. The twin provides
    its arguments, their checks and the output shape. This class replaces the kernel by a generated
    weight and applies the stock layer with it. The subclass gives the kernel shape in `build`.

    Takes the arguments of the stock layer, then `generator`, `embedding_dim`, `generate_bias` and
    `composition` as in `HyperDense`.

    Args:
        *args: Positional arguments of the stock layer.
        base_trainable: Whether the stored kernel of a composition is trainable.
        **kwargs: Keyword arguments of the stock layer.

    Attributes:
        stock: The class of the stock twin.
        weight_name: Name of the kernel variable of the stock twin.
        prefix: Prefix of the stock twin's arguments about the kernel.
        sizes: Names of the arguments that must be positive integers.
        unit_axes: The axes of the kernel that index its units.
        input_axes: The axes of the kernel that its product sums over. None (default): all axes but
            the last.
        kernel_weight: The `GeneratedWeight` of the kernel, None before `build`. Its `generator` is
            the argument, or the layer's own generator.

    Call arguments:
        inputs: Inputs of the stock layer.
        condition: None, or a floating point tensor of shape `(batch, dim)` or `(dim,)`.

    Output shape:
        The output shape of the stock layer.

    Raises:
        ValueError: See `HyperDense`.
        TypeError: If the inputs or the condition are integer tensors.

    Examples:
        >>> import keras
        >>> from keras_hyper.layers import HyperLayer
        >>> class Projection(HyperLayer, keras.layers.Dense):
        ...     stock = keras.layers.Dense
        ...     def build(self, inputs_shape, condition_shape=None):
        ...         shape = (inputs_shape[-1], self.units)
        ...         self.build_weights(shape, (self.units,), condition_shape)
        >>> x, context = keras.ops.ones((4, 16)), keras.ops.ones((4, 3))
        >>> tuple(Projection(8, use_bias=False)(x, context).shape)
        (4, 8)
    """

    unit_axes: Sequence[int] = (-1,)
    input_axes: Sequence[int] | None = None

    def __init__(
        self,
        *args: Any,
        generator: Generator | None = None,
        embedding_dim: int | None = None,
        generate_bias: bool = False,
        composition: str = "replace",
        base_trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        # The configuration records quantized and frozen sublayers.
        record: Config | None = kwargs.pop("record", None)
        super().__init__(*args, **kwargs)
        self._record = record
        generator = deserialize_shared(generator, self)
        self.generator = None if generator is None else as_generator(generator)
        self.embedding_dim = embedding_dim
        self.generate_bias = bool(generate_bias)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.kernel_weight: Any = None
        self.bias_weight: GeneratedWeight | None = None
        self.bias: Tensor = None
        self._check_arguments()

    def _check_arguments(self) -> None:
        if self.embedding_dim is not None:
            positive_int("embedding_dim", self.embedding_dim)
            if self.generator is not None and self.generator.embedding_dim != self.embedding_dim:
                raise ValueError(
                    "`embedding_dim` is an argument of the layer's own generator. Omit it with "
                    f"`generator` given. Received: embedding_dim={self.embedding_dim} "
                    f"and a generator with embedding_dim={self.generator.embedding_dim}"
                )
        if not self.generate_bias:
            return
        if not self.use_bias:
            raise ValueError("`generate_bias=True` requires a bias. Received: use_bias=False")
        if self.bias_constraint is not None:
            raise ValueError(
                "`bias_constraint` projects a variable after each update. It is unsupported with "
                "`generate_bias=True`. Received: "
                f"bias_constraint={name_of(self.bias_constraint)}"
            )

    @property
    def generated_weights(self) -> dict[str, GeneratedWeight]:
        """Dict from the stock layer's variable names to generated weights, empty before `build`."""
        return held_weights(self)

    def __dir__(self) -> list[str]:
        """Omits `generated_weights`: Keras would save the weights twice."""
        return [name for name in super().__dir__() if name != "generated_weights"]

    @property
    def conditioned(self) -> bool:
        """Whether the layer was built with a condition."""
        return self.kernel_weight is not None and self.kernel_weight.conditioned

    def build_weights(
        self,
        kernel_shape: Sequence[int],
        bias_shape: Sequence[int] | None,
        condition_shape: Shape | None,
    ) -> None:
        """Creates the kernel and the bias.

        Args:
            kernel_shape: Shape of the kernel.
            bias_shape: Shape of the bias, or None if the layer has no bias.
            condition_shape: Shape of the condition, or None for a static layer.
        """
        if condition_shape is not None:
            check_condition_shape(condition_shape)
        self.kernel_weight = GeneratedWeight(
            self.generator or self._own_generator(kernel_shape, condition_shape),
            kernel_shape,
            self.about_kernel("initializer"),
            regularizer=self.about_kernel("regularizer"),
            composition=self.composition,
            base_trainable=self.base_trainable,
            unit_axes=self.unit_axes,
            input_axes=self.input_axes,
            dtype=self.dtype_policy,
            name=self.weight_name,
        )
        self.kernel_weight.build(condition_shape)
        if self.generator is not None:
            made = self.kernel_weight
            self.generator.warn_of_limits(made.generated_shape, made.path)
        if bias_shape is not None:
            self._build_bias(bias_shape, condition_shape)
        restore_sublayers(self._record or {}, self)
        freeze_what_is_new(self)

    def _build_bias(self, bias_shape: Sequence[int], condition_shape: Shape | None) -> None:
        if self.generate_bias:
            self.bias_weight = GeneratedWeight(
                DirectGenerator("native", dtype=self.dtype_policy, name="generator"),
                bias_shape,
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                dtype=self.dtype_policy,
                name="bias",
            )
            self.bias_weight.build(condition_shape)
        elif self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=bias_shape,
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def _own_generator(
        self, kernel_shape: Sequence[int], condition_shape: Shape | None
    ) -> Generator:
        """Returns the generator for `generator=None`, built within this layer's name scope."""
        shape, initializer = generated_part(
            kernel_shape, self.about_kernel("initializer"), self.composition, self.unit_axes
        )
        options: dict[str, Any] = {"dtype": self.dtype_policy, "name": "generator"}
        if self.composition == "scale" and self.embedding_dim is None:
            return DirectGenerator(normalize_condition=False, **options)
        generator = default_generator(
            shape,
            initializer,
            condition_dim=None if condition_shape is None else condition_shape[-1],
            embedding_dim=self.embedding_dim,
            **options,
        )
        generator.prepare(shape, initializer)
        return generator

    def kernels(self, condition: Tensor | None, dtype: str) -> dict[str, Kernel]:
        """Returns a dict from variable names of the stock layer to kernels of type `dtype`."""
        weights = {self.weight_name: self.kernel_weight.kernel(condition)}
        if self.bias_weight is not None:
            weights["bias"] = self.bias_weight.kernel(condition)
        elif self.bias is not None:
            weights["bias"] = Full(self.bias.value, batched=False)
        return {name: kernel.cast(dtype) for name, kernel in weights.items()}

    def call(
        self, inputs: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        """Returns the outputs of the stock layer with the generated weights."""
        self.check_call(inputs, condition)
        dtype = product_dtype(self.kernel_weight.embedding, inputs)
        return self.apply_kernels(self.kernels(condition, dtype), ops.cast(inputs, dtype))

    def apply_kernels(self, kernels: Mapping[str, Kernel], inputs: Tensor) -> Tensor:
        """Returns the outputs of the stock layer with the given kernels."""
        return apply_layer(self.stock, self, kernels, inputs)

    def generate(self, condition: Tensor | None = None, factored: bool = False) -> dict[str, Any]:
        """Returns the weights of the layer.

        Args:
            condition: None for a static layer, otherwise a tensor of shape `(dim,)` or
                `(batch, dim)`.
            factored: Whether to return a dict of factors for each generated weight: `"left"` and
                `"right"` for a low-rank weight, `"scale"` for that composition, otherwise
                `"value"`.

        Returns:
            Dict of tensors with the keys `"kernel"` (`"embeddings"` for `HyperEmbedding`) and
            `"bias"`. With `factored=True` it omits a stored bias.

        Raises:
            ValueError: If the layer is not built, or the condition does not fit.
        """
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' has no weights yet. Call the layer or its `build` before "
                "`generate`."
            )
        condition = None if condition is None else numeric("condition", condition)
        if factored:
            return {n: w.kernel(condition).factors() for n, w in self.generated_weights.items()}
        weights = {name: weight(condition) for name, weight in self.generated_weights.items()}
        if self.bias is not None:
            # TensorFlow would return the variable itself.
            weights["bias"] = ops.reshape(self.bias, self.bias.shape)
        return weights

    def __call__(self, inputs: Tensor, condition: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Validates `inputs` and `condition` before `keras.layers.Layer.__call__`."""
        if isinstance(inputs, list | tuple | dict):
            raise ValueError(
                f"`inputs` of layer '{self.name}' must be one tensor. Received: a "
                f"{type(inputs).__name__} of length {len(inputs)}. Pass a condition as a keyword "
                "argument: `layer(x, condition=c)`."
            )
        check_condition_type(condition)
        warn_of_constants(self, inputs, condition)
        if condition is not None:
            if hasattr(inputs, "shape"):
                if self.conditioned:
                    width = self.kernel_weight.condition_dim
                    condition = with_known_rank(condition, (width,), inputs)
                condition = same_batch(condition, inputs)
            kwargs["condition"] = condition
        return super().__call__(inputs, **kwargs)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises if the dtype of the inputs is unsupported."""
        floating("inputs", inputs, f"Cast them to floating point before layer '{self.name}'.")

    def check_call(self, inputs: Tensor, condition: Tensor | None) -> None:
        """Raises if inputs or condition are invalid, or do not fit each other."""
        self.check_inputs(inputs)
        if self.kernel_weight is not None:
            check_condition(condition, self.kernel_weight.condition_dim, self.kernel_weight.path)
        if condition is None or len(condition.shape) == 1:
            return
        ours, theirs = condition.shape[0], inputs.shape[0]
        if None not in (ours, theirs) and ours != theirs:
            raise ValueError(
                f"Layer '{self.name}' requires one `condition` for each sample. Received: "
                f"`condition` of shape {tuple(condition.shape)} and `inputs` of shape "
                f"{tuple(inputs.shape)}. Pass a condition of shape (dim,) to use the same weights "
                "for the whole batch."
            )

    def compute_output_spec(
        self, inputs: Tensor, condition: Tensor | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns shape and dtype of the outputs."""
        self.check_call(inputs, condition)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def compute_output_shape(
        self, inputs_shape: Shape, condition_shape: Shape | None = None
    ) -> tuple[int | None, ...]:
        """Returns the output shape."""
        return tuple(super().compute_output_shape(inputs_shape))

    def get_config(self) -> Config:
        """Returns the arguments of the constructor."""
        ours = {
            "generator": serialize_shared(self.generator, self),
            "embedding_dim": self.embedding_dim,
            "generate_bias": self.generate_bias,
            "composition": self.composition,
            "base_trainable": self.base_trainable,
        }
        record = self._record
        if self.kernel_weight is not None:
            # HDF5 files and `clone_model` do not keep build configurations.
            record = with_sublayers({}, self, given=self.generator)
        return {**super().get_config(), **ours, **({"record": record} if record else {})}
