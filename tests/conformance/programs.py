"""Programs of every public class, in serving and in training, for XLA and for TPUs."""

import dataclasses

import keras

from conformance.descriptors import (
    CLASSES,
    ENCODING,
    HYPERNETWORK,
    LAYERS,
    NOISE,
    TASKS,
    leave_start,
)

CELLS = [row for row in LAYERS if row.name.endswith("-cell")]
TASK_IDS = dataclasses.replace(TASKS, name="tasks", argument="ids")
ROWS = [*CLASSES, ENCODING, TASK_IDS, NOISE, HYPERNETWORK, *CELLS]


def functions(row, policy="float32"):
    """Returns compiled functions of a layer, in serving and in training, and some inputs."""
    import tensorflow as tf

    keras.config.set_dtype_policy(policy)
    layer = row.make()
    layer(**row.data(2))
    leave_start(layer)
    data = [tf.constant(x) for x in row.data(4).values()]

    def call(tensors, training):
        first, *condition = tensors
        return layer(first, **({"condition": condition[0]} if condition else {}), **training)

    def arguments(training):
        return {"training": training} if layer._call_has_training_arg else {}

    def serve(*tensors):
        return call(tensors, arguments(False))

    def train(*tensors):
        with tf.GradientTape() as tape:
            outputs = call(tensors, arguments(True))
            loss = sum(
                tf.reduce_sum(tf.square(tf.cast(y, "float32"))) for y in tf.nest.flatten(outputs)
            )
        variables = [v.value for v in layer.trainable_variables]
        return tape.gradient(loss, variables) if variables else loss

    compiled = [tf.function(f, autograph=False, jit_compile=True) for f in (serve, train)]
    return *compiled, data


def program(function, data):
    """Returns the program that XLA gets, before it optimises."""
    return function.experimental_get_compiler_ir(*data)(stage="stablehlo")
