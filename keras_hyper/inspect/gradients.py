"""Gradients of a compiled model's loss, outside of `fit`."""

from collections.abc import Callable

import keras
import numpy as np

from keras_hyper.ops import as_array
from keras_hyper.typing import Tensor, Tensors

Loss = Callable[[], Tensor]
Gradients = list[Tensor | None]


def loss_gradients(model: keras.Model, inputs: Tensors, targets: Tensors) -> dict[int, np.ndarray]:
    """Returns a dict from the `id` of a variable to its gradient, in inference on one batch."""
    variables = model.trainable_variables
    find = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[keras.backend.backend()]

    def loss() -> Tensor:
        outputs = model(inputs, training=False)
        return model.compute_loss(x=inputs, y=targets, y_pred=outputs, training=False)

    gradients = find(loss, variables)
    return {id(v): as_array(g) for v, g in zip(variables, gradients, strict=True) if g is not None}


def _tensorflow(loss: Loss, variables: list[keras.Variable]) -> Gradients:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, [v.value for v in variables])
    return [tf.convert_to_tensor(g) if g is not None else None for g in gradients]


def _jax(loss: Loss, variables: list[keras.Variable]) -> Gradients:
    import jax

    def of(values: list[Tensor]) -> Tensor:
        pairs = list(zip(variables, values, strict=True))
        with keras.StatelessScope(pairs, collect_losses=True):
            return loss()

    gradients: Gradients = jax.grad(of)([v.value for v in variables])
    return gradients


def _torch(loss: Loss, variables: list[keras.Variable]) -> Gradients:
    import torch

    return list(torch.autograd.grad(loss(), [v.value for v in variables], allow_unused=True))
