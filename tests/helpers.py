"""What several test files need: NumPy values and gradients on every backend."""

import importlib.util

import keras
import numpy as np
import pytest

# SavedModels are written with TensorFlow, from JAX too.
CAN_EXPORT = keras.backend.backend() != "torch" and bool(importlib.util.find_spec("tensorflow"))

JIT = keras.backend.backend() != "torch"  # Keras compiles PyTorch only on request.

# Keras's own Dense multiplies float64 as float32 on PyTorch, and generators are
# built from it: there, float64 is as exact as float32 with a few roundings.
TRUE_FLOAT64 = keras.backend.backend() != "torch"
FLOAT64 = {"rtol": 1e-12, "atol": 1e-12} if TRUE_FLOAT64 else {"rtol": 2e-6, "atol": 2e-6}


def needs_keras(version, reason):
    """Skips a test on versions of Keras that are older than one such as `"3.13"`."""
    actual, least = (
        tuple(int(part) for part in v.split(".")[:2]) for v in (keras.__version__, version)
    )
    return pytest.mark.skipif(actual < least, reason=f"needs Keras {version}: {reason}")


def long_where_compiled(*values):
    """Returns a case that runs in `tox run -e tests-long`, and on PyTorch in the suite."""
    return pytest.param(*values, marks=[pytest.mark.long] if JIT else [])


def long_test_where_compiled(test):
    """Marks a test that runs in `tox run -e tests-long`, and on PyTorch in the suite."""
    return pytest.mark.long(test) if JIT else test


def long_on_tensorflow(*values):
    """Returns a case that runs in `tox run -e tests-long` where TensorFlow traces every graph."""
    long = keras.backend.backend() == "tensorflow"
    return pytest.param(*values, marks=[pytest.mark.long] if long else [])


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


def shake(layer, rng):
    """Moves every weight that is trained from where it starts."""
    for v in layer.trainable_variables:
        v.assign(v.numpy() + 0.3 * rng.normal(size=v.shape))


def compiled(function, layer):
    """Returns `function`, on JAX as one program of the weights of `layer`.

    Called plainly, JAX compiles every operation for itself, which takes far longer.
    The program reads the weights anew at every call, and updates none.
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    variables = layer.variables
    program = jax.jit(_pure(function, variables))
    return lambda *args, **kwargs: program([v.value for v in variables], args, kwargs)


def _pure(function, variables):
    def pure(values, args, kwargs):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return function(*args, **kwargs)

    return pure


def gradients(function, layer, *tensors):
    """Returns the gradients of `function(*tensors)` as NumPy arrays.

    By the trainable variables of `layer`, then by the tensors.
    """
    return outputs_and_gradients(lambda *t: (function(*t), ()), layer, *tensors)[1]


def outputs_and_gradients(function, layer, *tensors):
    """Returns what goes with the loss, and its gradients, as NumPy arrays.

    `function(*tensors)` returns the loss and anything else. The gradients are by
    the trainable variables of `layer`, then by the tensors.
    """
    return gradient_program(function, layer)(*tensors)


def gradient_program(function, layer):
    """Returns `outputs_and_gradients` of a function and a layer, compiled once on JAX."""
    backend = keras.backend.backend()
    variables = layer.trainable_variables
    if backend == "jax":
        import jax

        # Compiled as a whole, as in `compiled`.
        program = jax.jit(jax.grad(_pure(function, variables), argnums=(0, 1), has_aux=True))

    def run(*tensors):
        tensors = [keras.ops.convert_to_tensor(t) for t in tensors]
        if backend == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(tensors)
                loss, outputs = function(*tensors)
            grads = tape.gradient(loss, [v.value for v in variables] + tensors)
        elif backend == "torch":
            import torch

            tensors = [t.detach().clone().requires_grad_(True) for t in tensors]
            loss, outputs = function(*tensors)
            grads = torch.autograd.grad(loss, [v.value for v in variables] + tensors)
        else:
            grads, outputs = program([v.value for v in variables], tensors, {})
            grads = [*grads[0], *grads[1]]
        return to_numpy(outputs), to_numpy(grads)

    return run


def largest_tensor(layer, inputs, condition):
    """Returns how many numbers the largest tensor of a training step has."""
    import tensorflow as tf

    @tf.function(input_signature=[inputs, condition])
    def step(x, c):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(x, condition=c)))
        return tape.gradient(loss, [v.value for v in layer.trainable_variables])

    sizes = []
    graphs = [step.get_concrete_function().graph]
    for graph in graphs:
        # The functions that the graph calls count as well.
        graphs.extend(f.graph for f in getattr(graph, "_functions", {}).values())
        for op in graph.get_operations():
            for output in op.outputs:
                if output.shape.rank is not None:
                    sizes.append(output.shape.num_elements() or 0)
    return max(sizes)
