"""What all layers with generated weights share."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_hyper.checks import floating, one_of, positive_int
from keras_hyper.freezing import freeze_what_is_new
from keras_hyper.generators import DirectGenerator, default_generator
from keras_hyper.kernels import Kernel
from keras_hyper.saving import serialize_shared
from keras_hyper.scopes import baking
from keras_hyper.weights import (
    GeneratedWeight,
    as_generator,
    check_condition_shape,
    check_condition_type,
)

# Arguments of stock layers that are about a stored kernel.
_NOT_FOR_GENERATED = ("lora_rank", "lora_alpha", "quantization_config")
# Our own arguments, which a stock layer does not have.
_OURS = ("generator", "embedding_dim", "generate_bias", "composition")


class HyperLayer(keras.layers.Layer):
    """Base of the layers whose weights are generated.

    A hyper layer inherits from this class and from its stock twin, in that
    order: the twin brings its arguments, their checks and the output shape; this
    class brings the slots in place of the variables. The subclass names the
    shape of its kernel in `build`, and the product in `call`.

    Args:
        *args: Positional arguments of the stock layer.
        generator: A `Generator`, shared with as many layers as it can serve, or
            None for a small one of the layer's own (`default_generator`).
        embedding_dim: Integer, width of the embedding of the layer's own
            generator. None to choose it.
        generate_bias: Whether the bias is generated as well: `b = b_0 + P c`,
            where `b_0` starts at the `bias_initializer` and `P` at zero.
        composition: `"replace"`: the generated numbers are the kernel.
        **kwargs: Keyword arguments of the stock layer.
    """

    stock: ClassVar[type[keras.layers.Layer]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Returns the layer, or its stock twin while a model is baked."""
        if not baking():
            return super().__new__(cls, *args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs).arguments
        del bound["self"]
        bound.update(bound.pop("kwargs", {}))
        return cls.stock(**{name: value for name, value in bound.items() if name not in _OURS})

    def __init__(
        self,
        *args: Any,
        generator: Any = None,
        embedding_dim: int | None = None,
        generate_bias: bool = False,
        composition: str = "replace",
        **kwargs: Any,
    ) -> None:
        for name in _NOT_FOR_GENERATED:
            if kwargs.pop(name, None) is not None:
                raise ValueError(
                    f"`{name}` acts on a stored kernel, and the kernel of {type(self).__name__} is "
                    "generated. Put it on the generator's own layers, or use "
                    f"{self.stock.__name__}."
                )
        super().__init__(*args, **kwargs)
        self.generator = None if generator is None else as_generator(generator)
        self.embedding_dim = embedding_dim
        self.generate_bias = bool(generate_bias)
        self.composition = one_of("composition", composition, ("replace",))
        self.kernel_weight: Any = None
        self.bias_weight: Any = None
        self.bias: Any = None
        self._check_arguments()

    def _check_arguments(self) -> None:
        if self.embedding_dim is not None:
            positive_int("embedding_dim", self.embedding_dim)
            if self.generator is not None and self.generator.embedding_dim != self.embedding_dim:
                raise ValueError(
                    "`embedding_dim` sets the width of the layer's own generator; with `generator` "
                    f"given, the generator has it. Received: embedding_dim={self.embedding_dim} "
                    f"and a generator with embedding_dim={self.generator.embedding_dim}"
                )
        if self.kernel_constraint is not None:
            raise ValueError(
                "`kernel_constraint` projects a variable after each update, and the kernel of "
                f"{type(self).__name__} is generated. Received: "
                f"kernel_constraint={self.kernel_constraint}. Use `kernel_regularizer`, which acts "
                "on the generated kernel, or constrain the generator's own layers."
            )
        if not self.generate_bias:
            return
        if not self.use_bias:
            raise ValueError("`generate_bias=True` needs a bias. Received: use_bias=False")
        if self.bias_constraint is not None:
            raise ValueError(
                "`bias_constraint` projects a variable after each update, and with "
                "`generate_bias=True` the bias is generated. Received: "
                f"bias_constraint={self.bias_constraint}"
            )

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
        bias_shape: Sequence[int],
        condition_shape: Sequence[int | None] | None,
    ) -> None:
        """Creates the slots, and the bias if it is an ordinary one.

        Args:
            kernel_shape: Shape of the kernel.
            bias_shape: Shape of the bias.
            condition_shape: Shape of the condition, None for a static layer.
        """
        if condition_shape is not None:
            check_condition_shape(condition_shape)
        generator = self.generator or default_generator(
            kernel_shape,
            self.kernel_initializer,
            condition_dim=None if condition_shape is None else condition_shape[-1],
            embedding_dim=self.embedding_dim,
            dtype=self.dtype_policy,
            name="generator",
        )
        self.kernel_weight = GeneratedWeight(
            generator,
            kernel_shape,
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            composition=self.composition,
            dtype=self.dtype_policy,
            name="kernel",
        )
        self.kernel_weight.build(condition_shape)
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
        freeze_what_is_new(self)

    def weights_for(self, condition: Any) -> tuple[Kernel, Any]:
        """Returns the kernel and the bias for a condition.

        Args:
            condition: None, or a tensor of shape `(dim,)` or `(batch, dim)`.

        Returns:
            The kernel, and the bias as a tensor or None.
        """
        kernel = self.kernel_weight(condition)
        if self.bias_weight is None:
            return kernel, self.bias
        return kernel, self.bias_weight(condition).materialize()

    def finish(self, outputs: Any, bias: Any, channel_axis: int = -1) -> Any:
        """Returns the outputs with the bias added and the activation applied.

        Args:
            outputs: Tensor of shape `(batch, ...)`.
            bias: None, or a tensor of shape `(units,)` or `(batch, units)`.
            channel_axis: Axis of the outputs that the bias belongs to.
        """
        if bias is not None:
            shape: list[Any] = [1] * len(outputs.shape)
            shape[channel_axis] = bias.shape[-1]
            if len(bias.shape) == 2:
                shape[0] = ops.shape(outputs)[0]
            outputs = outputs + ops.reshape(bias, shape)
        return outputs if self.activation is None else self.activation(outputs)

    def generate(self, condition: Any = None) -> dict[str, Any]:
        """Returns the weights that the layer would use, by name.

        Args:
            condition: None for a static layer, otherwise a tensor of shape
                `(dim,)` or `(batch, dim)`.

        Returns:
            Dict of tensors: `"kernel"` and, if the layer has one, `"bias"`.

        Raises:
            ValueError: If the layer is not built, or the condition does not fit.
        """
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' has no weights yet: call it on inputs, or build it, before "
                "`generate`."
            )
        weights = {"kernel": self.kernel_weight(condition).materialize()}
        if self.bias_weight is not None:
            weights["bias"] = self.bias_weight(condition).materialize()
        elif self.bias is not None:
            weights["bias"] = ops.convert_to_tensor(self.bias)
        return weights

    def __call__(self, inputs: Any, condition: Any = None, **kwargs: Any) -> Any:
        """Calls the layer; refuses a condition that is none before Keras looks at it."""
        check_condition_type(condition)
        if condition is not None:
            kwargs["condition"] = condition
        return super().__call__(inputs, **kwargs)

    def check_call(self, inputs: Any, condition: Any) -> None:
        """Raises if inputs and condition cannot go together through this layer."""
        floating("inputs", inputs, f"Cast them first: layer '{self.name}' multiplies them.")
        if self.kernel_weight is not None:
            self.kernel_weight.check_condition(condition)
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
        """Saves the ordinary bias; the slots save themselves."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads the ordinary bias."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments to construct this layer again."""
        config = super().get_config()
        for name in _NOT_FOR_GENERATED:
            config.pop(name, None)
        ours = {
            "generator": serialize_shared(self.generator),
            "embedding_dim": self.embedding_dim,
            "generate_bias": self.generate_bias,
            "composition": self.composition,
        }
        return {**config, **ours}
