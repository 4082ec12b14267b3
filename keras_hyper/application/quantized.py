"""Quantized layers with given weights, which add generated products to their own."""

from collections.abc import Callable, Collection, Mapping, Sequence

import keras

from keras_hyper.application.bias import Weights, add_bias_and_activate
from keras_hyper.application.embedding import capped
from keras_hyper.application.given import current
from keras_hyper.typing import Tensors
from keras_hyper.utils.graph import is_of_lora, own_weights

_MODES = ("int8", "int4", "float8")
# The quantized variables.
_KERNELS = ("kernel", "embeddings", "reverse_embeddings")
# Attributes that change the outputs after the product.
_LAST = ("activation", "logit_soft_cap")


def is_quantized(layer: keras.Layer) -> bool:
    """Returns whether a layer is quantized in a supported mode."""
    return getattr(layer, "quantization_mode", None) in _MODES


def quantized_shapes(layer: keras.Layer) -> dict[str, tuple[int, ...]]:
    """Returns a dict from name to shape before quantization, for quantized kernels of a layer."""
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
    """Returns the variables that quantization added to a layer, such as scales."""
    if not is_quantized(layer):
        return []
    own = own_weights(layer).items()
    return [v for name, v in own if name not in (*_KERNELS, "bias") and not is_of_lora(v)]


def call_quantized(
    layer: keras.Layer,
    weights: Weights,
    added: Collection[str],
    function: Callable[..., Tensors],
    args: Sequence[Tensors],
    kwargs: Mapping[str, Tensors],
) -> Tensors:
    """Returns the outputs of a quantized layer.

    If all kernels are in `added`, their product (by `function`) is added to that of the layer
    before bias and activation. Otherwise `weights` replace those of the layer.
    """
    if not is_quantized(layer):
        raise ValueError(
            f"Layer '{layer.name}' has generated weights and is quantized with mode "
            f"'{layer.quantization_mode}'. Generated weights support the modes {list(_MODES)}. Use "
            "one of them, or exclude the weights of the layer with `include`."
        )
    kernels = {name: kernel.cast(layer.compute_dtype) for name, kernel in weights.items()}
    bias = kernels.pop("bias", None)
    replaced = kernels.keys() - set(added)
    if replaced and getattr(layer, "lora_enabled", False):
        raise ValueError(
            f"Layer '{layer.name}' is quantized and has LoRA enabled, so generated weights can "
            "only be added to its kernel. Use composition='add', and exclude the weights of LoRA "
            f"with `include`. Received: generated weights {sorted(replaced)}"
        )
    if replaced:
        return function(layer, current().weights(layer, weights), *args, **kwargs)
    # A copy that shares all variables, but returns the outputs of the product.
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
