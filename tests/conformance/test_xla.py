"""Ready for XLA, and so for GPUs and TPUs: kernels for every operation, no calls of foreign code,
products in the low precision, programs for several platforms and any batch size."""

import functools
import re

import keras
import numpy as np
import pytest

from conformance.descriptors import leave_start, over
from conformance.programs import ROWS, functions, program
from helpers import to_numpy

ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a graph of it")
ON_JAX = pytest.mark.skipif(keras.backend.backend() != "jax", reason="a program of it")


@pytest.fixture(scope="module")
def traced():
    """Returns `functions` with a cache, so that tests share what is traced."""
    return functools.cache(functions)


def operations(function, *arguments):
    """Returns the operations of a function, and of all functions that it calls."""
    graph = function.get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes}


@pytest.fixture(scope="module")
def compilable():
    """Returns the operations that XLA can compile: on TPU and GPU it has those of the CPU."""
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    tf.function(lambda: tf.constant(1.0) + 1.0, jit_compile=True)()  # They are registered by it.
    known = kernels.get_all_registered_kernels().kernel
    # What a graph is made of, and what is inlined, has none.
    inlined = {"Placeholder", "PartitionedCall", "StatefulPartitionedCall"}
    return {kernel.op for kernel in known if kernel.device_type == "XLA_CPU_JIT"} | inlined


@ON_TENSORFLOW
@over(ROWS)
def test_every_operation_can_be_compiled(row, compilable, traced):
    serve, train, data = traced(row)
    for function in (serve, train):
        assert not operations(function, *data) - compilable


@ON_TENSORFLOW
def test_an_operation_that_cannot_be_compiled_is_found(compilable):
    import tensorflow as tf

    strings = tf.function(lambda x: tf.strings.length(tf.strings.as_string(x)))
    found = operations(strings, np.ones(3))
    assert {"StringLength", "AsString"} <= found - compilable


@ON_TENSORFLOW
@over(ROWS)
def test_nothing_calls_foreign_code(row, traced):
    serve, train, data = traced(row)
    for function in (serve, train):
        text = program(function, data)
        assert "func" in text
        assert "custom_call" not in text


PRODUCT = re.compile(r"stablehlo\.(?:dot|dot_general|convolution)\b.* : \((.*?)\) ->")


def products(text):
    """Returns the types of the factors of each product of a program."""
    return [re.findall(r"x?(f\d+|bf16)>", types) for types in PRODUCT.findall(text)]


@ON_TENSORFLOW
@pytest.mark.parametrize(("policy", "low"), [("mixed_bfloat16", "bf16"), ("mixed_float16", "f16")])
@over([row for row in ROWS if row.name not in ("tasks", "encoding", "noise", "embedding")])
def test_products_are_in_the_low_precision(row, policy, low, traced):
    serve, _, data = functions(row, policy)
    types = products(program(serve, data))
    serve, _, data = traced(row)
    wide = products(program(serve, data))
    assert len(types) == len(wide) > 0
    assert all(factors == [low, low] for factors in types), types
    assert all(factors == ["f32", "f32"] for factors in wide), wide


@ON_JAX
@over(ROWS)
def test_one_program_for_several_platforms_and_any_batch_size(row):
    import jax
    from jax import export

    layer = row.make()
    layer(**row.data(2))
    leave_start(layer)
    variables = layer.variables

    def pure(values, *tensors):
        first, *condition = tensors
        kwargs = {"condition": condition[0]} if condition else {}
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return layer(first, **kwargs)

    data, scope = list(row.data(4).values()), export.SymbolicScope()
    sizes = [
        ("b", "t", *x.shape[2:]) if row.argument == "sequences" else ("b", *x.shape[1:])
        for x in data
    ]
    symbolic = [
        jax.ShapeDtypeStruct(export.symbolic_shape(",".join(map(str, size)), scope=scope), x.dtype)
        for size, x in zip(sizes, data, strict=True)
    ]
    values = [v.value for v in variables]
    exported = export.export(jax.jit(pure), platforms=["cpu", "tpu", "cuda"])(values, *symbolic)
    assert exported.platforms == ("cpu", "tpu", "cuda")
    for batch in (4, 1):
        rows = [x[:batch] for x in data]
        expected = pure(values, *rows)
        np.testing.assert_allclose(
            to_numpy(exported.call(values, *rows)), to_numpy(expected), rtol=1e-4, atol=1e-5
        )
