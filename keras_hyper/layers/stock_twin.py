"""What a layer with generated weights has from its stock twin, and what it cannot have."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn

import keras

from keras_hyper.ops import to_numpy
from keras_hyper.typing import Config
from keras_hyper.utils.checks import name_of, size
from keras_hyper.utils.precision import PolicyLayer

# Arguments of stock layers that are about a stored kernel.
_NOT_FOR_GENERATED = (
    "lora_rank",
    "lora_alpha",
    "gptq_unpacked_column_size",
    "quantization_config",
    "weights",
)


class HasStockTwin(PolicyLayer):
    """Base of layers that inherit from a stock layer and do not store its kernel.

    Args:
        *args: Positional arguments of the stock layer.
        **kwargs: Keyword arguments of the stock layer.

    Attributes:
        stock: The class of the stock twin.
        weight_name: How the stock twin calls its kernel.
        prefix: What its arguments about the kernel start with.
        sizes: Its arguments that are positive integers.
    """

    stock: ClassVar[type[keras.Layer]]
    weight_name: ClassVar[str] = "kernel"
    prefix: ClassVar[str] = "kernel"
    sizes: ClassVar[Sequence[str]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for name in _NOT_FOR_GENERATED:
            if kwargs.pop(name, None) is not None:
                raise ValueError(
                    f"`{name}` acts on a stored {self.weight_name}, and that of "
                    f"{type(self).__name__} is generated. Put it on the generator's own layers, "
                    f"or use {self.stock.__name__}."
                )
        kwargs.update({name: size(name, kwargs[name]) for name in self.sizes})
        super().__init__(*args, **kwargs)
        for name in ("build", "compute_output_shape"):
            setattr(self, name, _with_stock_name(getattr(self, name)))
        if self.about_kernel("constraint") is not None:
            raise ValueError(
                f"`{self.prefix}_constraint` projects a variable after each update, and the "
                f"{self.weight_name} of {type(self).__name__} is generated. Received: "
                f"{self.prefix}_constraint={name_of(self.about_kernel('constraint'))}. Use "
                f"`{self.prefix}_regularizer`, which acts on the generated values, or constrain "
                "the generator's own layers."
            )

    def about_kernel(self, name: str) -> Callable[..., Any] | None:
        """Returns an argument about the kernel, such as its `"regularizer"`."""
        argument: Callable[..., Any] | None = getattr(self, f"{self.prefix}_{name}")
        return argument

    @property
    def kernel(self) -> NoReturn:
        """Raises: there is no kernel to read before `generate` makes one."""
        raise AttributeError(
            f"{type(self).__name__} has no stored kernel. Use `generate(condition)['kernel']` for "
            "its value."
        )

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

    def to_stock(self, build: bool = True) -> keras.Layer:
        """Returns a stock layer with the weights that this layer generates now.

        It computes the same, and shares no variables with this layer.

        Args:
            build: Whether to build it and assign the weights. A layer that is not built can be made
                a part of another one, which builds it.

        Raises:
            ValueError: If the layer is not built, is conditioned, or is of a subclass, which may
                compute something else. A subclass can override this method.

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

    def load_own_variables(self, store: Any) -> None:
        """Loads the ordinary bias; generated weights load themselves."""
        keras.Layer.load_own_variables(self, store)

    def get_config(self) -> Config:
        """Returns the arguments of the stock layer that make sense without a kernel."""
        config = super().get_config()
        return {k: v for k, v in config.items() if k not in _NOT_FOR_GENERATED}


def _with_stock_name(method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method that also takes its first argument as `input_shape`.

    The stock layers call it that. Keras needs the name of the argument of `call` where there are
    two, so that the signature stays.
    """
    first = next(iter(inspect.signature(method).parameters))

    @functools.wraps(method)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if "input_shape" in kwargs:
            kwargs[first] = kwargs.pop("input_shape")
        return method(*args, **kwargs)

    return renamed
