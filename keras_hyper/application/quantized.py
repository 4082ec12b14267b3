"""Quantized layers with given weights: what is generated is added to their own products."""

from collections.abc import Callable, Mapping, Sequence

import keras

from keras_hyper.application.bias import add_bias_and_activate
from keras_hyper.application.embedding import capped
from keras_hyper.application.given import Given
from keras_hyper.typing import Tensors
from keras_hyper.utils.graph import own_weights

_MODES = ("int8", "int4", "float8")
# What quantized layers hold as other numbers, and what else they had before.
_KERNELS = ("kernel", "embeddings", "reverse_embeddings")
_OTHERS = ("bias",)
# What comes after the product.
_LAST = ("activation", "logit_soft_cap")


def is_quantized(layer: keras.Layer) -> bool:
    """Returns whether a layer computes with kernels of a few bits."""
    return getattr(layer, "quantization_mode", None) in _MODES


def quantized_shapes(layer: keras.Layer) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a quantized layer's kernels by name, as before quantization."""
    if not is_quantized(layer):
        return {}
    shapes = {name: _shape(layer, name) for name in _KERNELS if name in own_weights(layer)}
    if "reverse_embeddings" in shapes:
        shapes["reverse_embeddings"] = shapes["embeddings"][::-1]
    return shapes


def _shape(layer: keras.Layer, name: str) -> tuple[int, ...]:
    """Returns the shape of a kernel as before quantization."""
    first = getattr(layer, f"lora_{name}_a", None)
    if first is None:
        return tuple(getattr(layer, name).shape)
    # On TensorFlow, Keras before 3.15 cannot read a kernel of 4 bits that has LoRA.
    return (*first.shape[:-1], getattr(layer, f"lora_{name}_b").shape[-1])


def of_quantization(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the scales and the like that a layer got when it was quantized."""
    if not is_quantized(layer):
        return []
    own = own_weights(layer).items()
    others = [(name, v) for name, v in own if name not in (*_KERNELS, *_OTHERS)]
    return [v for name, v in others if not name.startswith("lora_")]


def call_quantized(
    layer: keras.Layer,
    given: Given,
    function: Callable[..., Tensors],
    args: Sequence[Tensors],
    kwargs: Mapping[str, Tensors],
) -> Tensors:
    """Returns the outputs of a quantized layer.

    Weights in `given.added` are added to those of the layer: their product, which `function`
    takes, comes before bias and activation. Others replace them, and are used as they are.
    """
    if not is_quantized(layer):
        raise ValueError(
            f"Layer '{layer.name}' is quantized with mode '{layer.quantization_mode}', and its "
            f"weights are generated, which is supported for the modes {list(_MODES)}. Use one of "
            "them, or leave the layer's weights out with `include`."
        )
    dtype = layer.compute_dtype
    kernels = {name: kernel.cast(dtype) for name, kernel in given.kernels.items()}
    bias = kernels.pop("bias", None)
    replaced = kernels.keys() - set(given.added)
    if replaced and getattr(layer, "lora_enabled", False):
        raise ValueError(
            f"Layer '{layer.name}' is quantized and has LoRA enabled: generated weights can only "
            "be added to its kernel. Use composition='add', and leave the weights of LoRA out with "
            f"`include`. Received: generated weights {sorted(replaced)}"
        )
    if replaced:
        return function(layer, given.weights(dtype), *args, **kwargs)
    # The layer without what comes after the product; it shares all variables.
    bare = object.__new__(type(layer))
    bare.__dict__.update(vars(layer))
    last = _LAST if bias is None else ("bias", *_LAST)
    bare.__dict__.update({name: None for name in last if hasattr(layer, name)})
    outputs = type(layer).quantized_call(bare, *args, **kwargs)
    reverse = isinstance(layer, keras.layers.Embedding) and (kwargs.get("reverse") or args[1:2])
    used = "reverse_embeddings" if reverse and not layer.tie_weights else None
    if (used or next(iter(kernels), None)) in kernels:
        outputs = outputs + function(bare, kernels, *args, **kwargs)
    return add_bias_and_activate(layer, capped(layer, outputs) if reverse else outputs, bias)
