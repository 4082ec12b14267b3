"""What all layers with generated weights share."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.application import apply_layer
from keras_hyper.generators import DirectGenerator, default_generator
from keras_hyper.kernels import Full, Kernel
from keras_hyper.ops import same_batch, to_numpy, with_known_rank
from keras_hyper.saving import deserialize_shared, serialize_shared
from keras_hyper.saving.sublayers import restore_sublayers, with_sublayers
from keras_hyper.utils.checks import floating, name_of, numeric, positive_int
from keras_hyper.utils.constants import warn_of_constants
from keras_hyper.utils.freezing import freeze_what_is_new
from keras_hyper.utils.precision import PolicyLayer, product_dtype, save_as_arrays
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

# Arguments of stock layers that are about a stored kernel.
_NOT_FOR_GENERATED = (
    "lora_rank",
    "lora_alpha",
    "gptq_unpacked_column_size",
    "quantization_config",
    "weights",
)


class HyperLayer(PolicyLayer):
    """Base of the layers whose weights are generated.

    A hyper layer inherits from this class and from its stock twin, in that
    order: the twin brings its arguments, their checks and the output shape; this
    class brings generated weights in place of the variables, and applies the stock layer
    with what they generate. The subclass names the shape of its kernel in `build`.

    Args:
        *args: Positional arguments of the stock layer.
        generator: A `Generator`, shared with as many layers as it can serve, or
            None for a small one of the layer's own (`default_generator`).
        embedding_dim: Integer, width of the embedding of the layer's own
            generator. None to choose it.
        generate_bias: Whether the bias is generated as well: `b = b_0 + P c`,
            where `b_0` starts at the `bias_initializer` and `P` at zero.
        composition: `"replace"`: the generated numbers are the kernel. `"add"`,
            `"multiply"`, `"scale"`: they change a stored one, see
            `GeneratedWeight`.
        base_trainable: Whether that stored kernel is trained.
        **kwargs: Keyword arguments of the stock layer.

    Attributes:
        stock: The class of the stock twin.
        weight_name: How the stock twin calls its kernel.
        prefix: What its arguments about the kernel start with.
        unit_axes: The axes of the kernel that number its units.
        input_axes: Those that its product sums over, where they are not all but the last.
        kernel_weight: The `GeneratedWeight` of the kernel, once built; its `generator` is the one
            that was given, or the layer's own.

    Call arguments:
        inputs: What the stock layer takes.
        condition: None, or a floating point tensor of shape `(batch, dim)` or
            `(dim,)`.

    Output shape:
        That of the stock layer.

    Raises:
        ValueError: If an argument has no meaning for a generated kernel, if the
            generator cannot make it, or if a condition does not fit.
        TypeError: If the inputs or the condition are integers.

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

    stock: ClassVar[type[keras.layers.Layer]]
    weight_name: ClassVar[str] = "kernel"
    prefix: ClassVar[str] = "kernel"
    unit_axes: Sequence[int] = (-1,)
    input_axes: Sequence[int] | None = None

    def __init__(
        self,
        *args: Any,
        generator: Any = None,
        embedding_dim: int | None = None,
        generate_bias: bool = False,
        composition: str = "replace",
        base_trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        # From a configuration: which sublayers are quantized or frozen.
        record = kwargs.pop("record", None)
        for name in _NOT_FOR_GENERATED:
            if kwargs.pop(name, None) is not None:
                raise ValueError(
                    f"`{name}` acts on a stored {self.weight_name}, and that of "
                    f"{type(self).__name__} is generated. Put it on the generator's own layers, "
                    f"or use {self.stock.__name__}."
                )
        super().__init__(*args, **kwargs)
        for name in ("build", "compute_output_shape"):
            setattr(self, name, _with_stock_name(getattr(self, name)))
        self._record = record
        generator = deserialize_shared(generator, self)
        self.generator = None if generator is None else as_generator(generator)
        self.embedding_dim = embedding_dim
        self.generate_bias = bool(generate_bias)
        self.composition = as_composition(composition)
        self.base_trainable = bool(base_trainable)
        self.kernel_weight: Any = None
        self.bias_weight: Any = None
        self.bias: Any = None
        self._check_arguments()

    def about_kernel(self, name: str) -> Any:
        """Returns an argument about the kernel, such as its `"regularizer"`."""
        return getattr(self, f"{self.prefix}_{name}")

    def _check_arguments(self) -> None:
        if self.embedding_dim is not None:
            positive_int("embedding_dim", self.embedding_dim)
            if self.generator is not None and self.generator.embedding_dim != self.embedding_dim:
                raise ValueError(
                    "`embedding_dim` sets the width of the layer's own generator; with `generator` "
                    f"given, the generator has it. Received: embedding_dim={self.embedding_dim} "
                    f"and a generator with embedding_dim={self.generator.embedding_dim}"
                )
        if self.about_kernel("constraint") is not None:
            raise ValueError(
                f"`{self.prefix}_constraint` projects a variable after each update, and the "
                f"{self.weight_name} of {type(self).__name__} is generated. Received: "
                f"{self.prefix}_constraint={name_of(self.about_kernel('constraint'))}. Use "
                f"`{self.prefix}_regularizer`, which acts on the generated values, or constrain "
                "the generator's own layers."
            )
        if not self.generate_bias:
            return
        if not self.use_bias:
            raise ValueError("`generate_bias=True` needs a bias. Received: use_bias=False")
        if self.bias_constraint is not None:
            raise ValueError(
                "`bias_constraint` projects a variable after each update, and with "
                "`generate_bias=True` the bias is generated. Received: "
                f"bias_constraint={name_of(self.bias_constraint)}"
            )

    @property
    def generated_weights(self) -> dict[str, GeneratedWeight]:
        """The generated weights by the names of the stock layer's variables, once built."""
        return held_weights(self)

    def __dir__(self) -> list[str]:
        """Lists the attributes but `generated_weights`: Keras saves each weight where it is."""
        return [name for name in super().__dir__() if name != "generated_weights"]

    @property
    def conditioned(self) -> bool:
        """Whether the layer was built with a condition."""
        return self.kernel_weight is not None and self.kernel_weight.conditioned

    @property
    def kernel(self) -> Any:
        """Raises: there is no kernel to read before `generate` makes one."""
        raise AttributeError(
            f"{type(self).__name__} has no stored kernel. Use `generate(condition)['kernel']` for "
            "its value."
        )

    def build_weights(
        self,
        kernel_shape: Sequence[int],
        bias_shape: Sequence[int] | None,
        condition_shape: Sequence[int | None] | None,
    ) -> None:
        """Creates the generated weights, and the bias if it is an ordinary one.

        Args:
            kernel_shape: Shape of the kernel.
            bias_shape: Shape of the bias, None for a layer without one.
            condition_shape: Shape of the condition, None for a static layer.
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
            self.kernel_weight.warn_of_limits()
        if bias_shape is not None:
            self._build_bias(bias_shape, condition_shape)
        restore_sublayers(self._record or {}, self)
        freeze_what_is_new(self)

    def _build_bias(self, bias_shape: Sequence[int], condition_shape: Any) -> None:
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

    def _own_generator(self, kernel_shape: Any, condition_shape: Any) -> Any:
        """Returns the generator that None stands for, built: its variables are this layer's."""
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

    def kernels(self, condition: Any, dtype: str) -> dict[str, Kernel]:
        """Returns the weights for a condition, by the names of the stock layer's variables.

        Args:
            condition: None, or a tensor of shape `(dim,)` or `(batch, dim)`.
            dtype: Dtype of the weights.
        """
        weights = {self.weight_name: self.kernel_weight.kernel(condition)}
        if self.bias_weight is not None:
            weights["bias"] = self.bias_weight.kernel(condition)
        elif self.bias is not None:
            weights["bias"] = Full(self.bias.value, batched=False)
        return {name: kernel.cast(dtype) for name, kernel in weights.items()}

    def call(self, inputs: Any, condition: Any = None, training: Any = None) -> Any:
        """Returns what the stock layer returns with the generated weights."""
        self.check_call(inputs, condition)
        dtype = product_dtype(self.kernel_weight.embedding, inputs)
        kernels = self.kernels(condition, dtype)
        return apply_layer(self.stock, self, kernels, ops.cast(inputs, dtype))

    def generate(self, condition: Any = None) -> dict[str, Any]:
        """Returns the weights that the layer would use, by name.

        Args:
            condition: None for a static layer, otherwise a tensor of shape
                `(dim,)` or `(batch, dim)`.

        Returns:
            Dict of tensors: `"kernel"` (`"embeddings"` for `HyperEmbedding`) and,
            if the layer has one, `"bias"`.

        Raises:
            ValueError: If the layer is not built, or the condition does not fit.
        """
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' has no weights yet: call it on inputs, or build it, before "
                "`generate`."
            )
        condition = None if condition is None else numeric("condition", condition)
        weights = {name: weight(condition) for name, weight in self.generated_weights.items()}
        if self.bias is not None:
            # A tensor, where TensorFlow would hand the variable itself on.
            weights["bias"] = ops.reshape(self.bias, self.bias.shape)
        return weights

    def to_stock(self, build: bool = True) -> keras.layers.Layer:
        """Returns a stock layer with the weights that this layer generates now.

        It computes the same, and shares no variables with this layer.

        Args:
            build: Whether to build it and assign the weights. A layer that is not built
                can be made a part of another one, which builds it.

        Raises:
            ValueError: If the layer is not built, is conditioned, or is of a subclass,
                which may compute something else. A subclass can override this method.

        Examples:
            >>> import keras
            >>> from keras_hyper import HyperDense
            >>> layer = HyperDense(8)
            >>> layer.build((None, 16))
            >>> type(layer.to_stock()).__name__
            'Dense'
        """
        if not self.built:
            raise ValueError(f"Layer '{self.name}' cannot be baked: it is not built.")
        if self.conditioned:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) cannot be baked: it is conditioned, "
                "and has different weights for every condition. For its weights at one condition, "
                "call `layer.generate(condition)` and assign them to a layer of "
                f"`keras.layers.{self.stock.__name__}`; a `Hypernetwork` has `bake(condition)`. To "
                "serve all conditions, use `keras_hyper.export_saved_model`."
            )
        if self.stock not in type(self).__bases__:
            raise ValueError(
                f"Layer '{self.name}' cannot be baked: {type(self).__name__} is a subclass of "
                f"{type(self).__bases__[0].__name__}, and what it adds has no place in a "
                f"{self.stock.__name__}. Override `to_stock`."
            )
        layer = self.stock.from_config(self.stock.get_config(self))
        if build:
            layer.build_from_config(self.get_build_config())
            layer.set_weights([to_numpy(weight) for weight in self.generate().values()])
        return layer

    def __call__(self, inputs: Any, condition: Any = None, **kwargs: Any) -> Any:
        """Calls the layer, after checks of what Keras would not understand."""
        if isinstance(inputs, list | tuple | dict):
            raise ValueError(
                f"Layer '{self.name}' takes one tensor as `inputs`. Received: a "
                f"{type(inputs).__name__} of {len(inputs)}. Pass a condition as the argument "
                "`condition`: `layer(x, condition=c)`."
            )
        check_condition_type(condition)
        warn_of_constants(self, inputs, condition)
        if condition is not None:
            kwargs["condition"] = self._with_rows(condition, inputs)
        return super().__call__(inputs, **kwargs)

    def _with_rows(self, condition: Any, inputs: Any) -> Any:
        """Returns the condition with a known rank, and with the batch size of the inputs."""
        if not hasattr(inputs, "shape"):
            return condition
        if self.conditioned:
            condition = with_known_rank(condition, (self.kernel_weight.condition_dim,), inputs)
        return same_batch(condition, inputs)

    def check_inputs(self, inputs: Any) -> None:
        """Raises if the layer cannot take inputs of that type."""
        floating("inputs", inputs, f"Cast them first: layer '{self.name}' multiplies them.")

    def check_call(self, inputs: Any, condition: Any) -> None:
        """Raises if inputs and condition cannot go together through this layer."""
        self.check_inputs(inputs)
        if self.kernel_weight is not None:
            check_condition(condition, self.kernel_weight.condition_dim, self.kernel_weight.path)
        if condition is None or len(condition.shape) == 1:
            return
        ours, theirs = condition.shape[0], inputs.shape[0]
        if None not in (ours, theirs) and ours != theirs:
            raise ValueError(
                f"Layer '{self.name}' needs one `condition` for each sample. Received: `condition` "
                f"of shape {tuple(condition.shape)} and `inputs` of shape {tuple(inputs.shape)}. "
                "A condition of shape (dim,) makes one set of weights for the whole batch."
            )

    def compute_output_spec(
        self, inputs: Any, condition: Any = None, training: Any = None
    ) -> keras.KerasTensor:
        """Returns shape and dtype of the outputs, after the checks of a real call."""
        self.check_call(inputs, condition)
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def compute_output_shape(
        self, inputs_shape: Any, condition_shape: Any = None
    ) -> tuple[int | None, ...]:
        """Returns the shape of the outputs."""
        return super().compute_output_shape(inputs_shape)

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Raises: there is no stored kernel to adapt."""
        raise NotImplementedError(
            f"{type(self).__name__} has no stored kernel to adapt. Enable LoRA on the Dense layers "
            "of its generator, or bake the model first."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Raises: there is no stored kernel to quantize."""
        raise NotImplementedError(
            f"{type(self).__name__} has no stored kernel to quantize. `model.quantize` quantizes "
            "the Dense layers of its generator, and a baked model has stock layers."
        )

    def save_own_variables(self, store: Any) -> None:
        """Saves the ordinary bias; generated weights save themselves."""
        save_as_arrays(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads the ordinary bias."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this layer again."""
        config = super().get_config()
        for name in _NOT_FOR_GENERATED:
            config.pop(name, None)
        ours = {
            "generator": serialize_shared(self.generator, self),
            "embedding_dim": self.embedding_dim,
            "generate_bias": self.generate_bias,
            "composition": self.composition,
            "base_trainable": self.base_trainable,
        }
        record = self._record
        if self.kernel_weight is not None:
            # HDF5 files and `clone_model` use no build configurations.
            record = with_sublayers({}, self, given=self.generator)
        return {**config, **ours, **({"record": record} if record else {})}


def _with_stock_name(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method that also takes its first argument as `input_shape`.

    The stock layers call it that. Keras needs the name of the argument of `call` where
    there are two, so that the signature stays.
    """
    first = next(iter(inspect.signature(method).parameters))

    @functools.wraps(method)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if "input_shape" in kwargs:
            kwargs[first] = kwargs.pop("input_shape")
        return method(*args, **kwargs)

    return renamed
