"""`Embedding` and `ReversibleEmbedding` with given weights."""

import keras
from keras import ops

from keras_hyper.application.bias import Weights
from keras_hyper.typing import Tensor


def embedding(layer: keras.layers.Embedding, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the outputs of an `Embedding` layer."""
    table = weights["embeddings"]
    wide = keras.backend.standardize_dtype(inputs.dtype) in ("int32", "int64")
    ids = inputs if wide else ops.cast(inputs, "int32")
    if table.batched:
        # Lookups in per-sample tables do not support sparse ids. Missing ids are 0.
        ids = ops.convert_to_tensor(ids, sparse=False)
    return ops.cast(table.lookup(ids), layer.compute_dtype)


def reversible_embedding(
    layer: keras.Layer, weights: Weights, inputs: Tensor, reverse: bool = False
) -> Tensor:
    """Returns the outputs of a `ReversibleEmbedding` layer: embeddings, or logits if `reverse`."""
    if not reverse:
        outputs = embedding(layer, weights, inputs)
        if not layer.mask_zero:
            return outputs
        # The call of this layer sets the mask of its outputs itself.
        mask = keras.layers.Embedding.compute_mask(layer, inputs)
        masked = keras.layers.Lambda(lambda x: x, mask=mask, dtype=outputs.dtype, name="mask")
        return masked(outputs)
    tied = layer.tie_weights
    kernel = weights["embeddings"].matrix([1], [0]) if tied else weights["reverse_embeddings"]
    if layer.reverse_dtype is not None:
        inputs, kernel = ops.cast(inputs, layer.reverse_dtype), kernel.cast(layer.reverse_dtype)
    return capped(layer, kernel.dense(inputs))


def capped(layer: keras.Layer, logits: Tensor) -> Tensor:
    """Applies the soft cap of a `ReversibleEmbedding` layer to its logits, if it has one."""
    if layer.logit_soft_cap is None:
        return logits
    return ops.tanh(logits / layer.logit_soft_cap) * layer.logit_soft_cap
