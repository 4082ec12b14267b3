"""What several test files need: NumPy values and gradients on every backend."""

import keras
import numpy as np

JIT = keras.backend.backend() != "torch"  # Keras compiles PyTorch only on request.

# Keras's own Dense multiplies float64 as float32 on PyTorch, and generators are
# built from it: there, float64 is as exact as float32 with a few roundings.
TRUE_FLOAT64 = keras.backend.backend() != "torch"
FLOAT64 = {"rtol": 1e-12, "atol": 1e-12} if TRUE_FLOAT64 else {"rtol": 2e-6, "atol": 2e-6}


def to_numpy(tree):
    def convert(x):
        if isinstance(x, np.ndarray | np.generic):
            return x
        return keras.ops.convert_to_numpy(keras.ops.stop_gradient(x))

    return keras.tree.map_structure(convert, tree)


def relative_error(actual, expected):
    """Returns the largest absolute difference over the largest absolute value."""
    actual, expected = np.asarray(to_numpy(actual)), np.asarray(to_numpy(expected))
    assert actual.shape == expected.shape
    return np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-300)


def gradients(function, layer, *tensors):
    """Returns the gradients of `function(*tensors)` as NumPy arrays.

    By the trainable variables of `layer`, then by the tensors.
    """
    backend = keras.backend.backend()
    variables = layer.trainable_variables
    tensors = [keras.ops.convert_to_tensor(t) for t in tensors]
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return to_numpy(tape.gradient(value, [v.value for v in variables] + tensors))
    if backend == "torch":
        import torch

        tensors = [t.detach().clone().requires_grad_(True) for t in tensors]
        value = function(*tensors)
        grads = torch.autograd.grad(value, [v.value for v in variables] + tensors)
        return [g.detach().cpu().numpy() for g in grads]
    import jax

    def pure(values, arguments):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*arguments)

    # Compiled as a whole: one by one, every operation is compiled for itself.
    grads = jax.jit(jax.grad(pure, argnums=(0, 1)))([v.value for v in variables], tensors)
    return to_numpy([*grads[0], *grads[1]])
