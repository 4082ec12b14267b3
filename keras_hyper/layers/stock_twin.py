"""Base of layers that inherit from a stock layer but generate its kernel."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

import keras

from keras_hyper.ops import to_numpy
from keras_hyper.typing import Config
from keras_hyper.utils.checks import name_of, size
from keras_hyper.utils.precision import PolicyLayer

# Arguments of stock layers that act on a stored kernel.
_NOT_FOR_GENERATED = (
    "lora_rank",
    "lora_alpha",
    "gptq_unpacked_column_size",
    "quantization_config",
    "weights",
)


class HasStockTwin(PolicyLayer):
    """Base of layers that inherit from a stock layer but generate its kernel.

    See `HyperLayer` for the attributes.
    """

    stock: ClassVar[type[keras.Layer]]
    weight_name: ClassVar[str] = "kernel"
    prefix: ClassVar[str] = "kernel"
    sizes: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name in _NOT_FOR_GENERATED:
            if kwargs.pop(name, None) is not None:
                raise ValueError(
                    f"`{name}` acts on a stored {self.weight_name}. It is unsupported because "
                    f"{type(self).__name__} generates its {self.weight_name}. Set it on the "
                    f"generator's layers, or use {self.stock.__name__}."
                )
        kwargs.update({name: size(name, kwargs[name]) for name in self.sizes})
        super().__init__(*args, **kwargs)
        for name in ("build", "compute_output_shape"):
            setattr(self, name, _with_stock_name(getattr(self, name)))
        if self.about_kernel("constraint") is not None:
            raise ValueError(
                f"`{self.prefix}_constraint` projects a variable after each update. It is "
                f"unsupported because {type(self).__name__} generates its {self.weight_name}. "
                f"Received: {self.prefix}_constraint={name_of(self.about_kernel('constraint'))}. "
                f"Use `{self.prefix}_regularizer`, or constrain the generator's layers."
            )

    def about_kernel(self, name: str) -> Any:
        """Returns an argument about the kernel, such as its `"regularizer"`."""
        return getattr(self, f"{self.prefix}_{name}")

    @property
    def kernel(self) -> NoReturn:
        """Raises, because the kernel is generated and not stored."""
        raise AttributeError(
            f"{type(self).__name__} has no stored {self.weight_name}. Use "
            f"`generate(condition)['{self.weight_name}']` for its value."
        )

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Raises, because there is no stored kernel to adapt."""
        raise NotImplementedError(
            f"{type(self).__name__} has no stored kernel to adapt. Enable LoRA on the Dense layers "
            "of its generator, or bake the model first."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Raises, because there is no stored kernel to quantize."""
        raise NotImplementedError(
            f"{type(self).__name__} has no stored kernel to quantize. Use `model.quantize`, which "
            "quantizes the Dense layers of its generator, or bake the model first."
        )

    def to_stock(self, build: bool = True) -> keras.Layer:
        """Returns an equivalent stock layer with the current weights of this layer.

        Args:
            build: Whether to build the stock layer and assign its weights. False if a parent layer
                builds it.

        Raises:
            ValueError: If the layer is not built or is conditioned. Also for subclasses, which may
                compute something else and should override this method.

        Examples:
            >>> import keras
            >>> from keras_hyper import HyperDense
            >>> layer = HyperDense(8)
            >>> layer.build((None, 16))
            >>> type(layer.to_stock()).__name__
            'Dense'
        """
        if not self.built:
            raise ValueError(
                f"Layer '{self.name}' cannot be baked: it is not built. Build it first."
            )
        if self.conditioned:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) cannot be baked: it is conditioned. "
                "For one condition, assign the weights that `layer.generate(condition)` returns to "
                f"a `keras.layers.{self.stock.__name__}`, or use `Hypernetwork.bake(condition)`. "
                "For all conditions, use `keras_hyper.export_saved_model`."
            )
        if self.stock not in type(self).__bases__:
            raise ValueError(
                f"Layer '{self.name}' cannot be baked: {type(self).__name__} is a subclass of "
                f"{type(self).__bases__[0].__name__} and may compute something else. Override its "
                "`to_stock`."
            )
        layer = self.stock.from_config(self.stock.get_config(self))
        if build:
            layer.build_from_config(self.get_build_config())
            layer.set_weights([to_numpy(weight) for weight in self.generate().values()])
        return layer

    def load_own_variables(self, store: Any) -> None:
        """Loads the stored bias; generated weights load themselves."""
        keras.Layer.load_own_variables(self, store)

    def get_config(self) -> Config:
        """Returns the configuration of the stock layer without unsupported arguments."""
        config = super().get_config()
        return {k: v for k, v in config.items() if k not in _NOT_FOR_GENERATED}


def _with_stock_name(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method that accepts its first argument also as `input_shape`, like stock layers.

    Keras requires the name `inputs_shape` in methods with two shapes.
    """
    first = next(iter(inspect.signature(method).parameters))

    @functools.wraps(method)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if "input_shape" in kwargs:
            kwargs[first] = kwargs.pop("input_shape")
        return method(*args, **kwargs)

    return renamed
