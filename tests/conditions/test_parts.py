"""Parts of a condition: their names."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT
from keras_hyper import Hypernetwork, LinearGenerator, TaskEmbedding


def make(condition):
    target = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    hyper = Hypernetwork(target, LinearGenerator(2), condition, name="hyper")
    values = [0, *[keras.ops.ones(3)] * (len(condition) - 1)]
    hyper(keras.ops.ones((2, 3)), values if len(values) > 1 else 0)
    return hyper


def test_names_that_keras_made_up_are_in_no_path():
    hypers = [make([TaskEmbedding(3, 2), layers.Dense(4), layers.Dense(4)]) for _ in range(2)]
    paths = [[v.path for v in hyper.condition.variables] for hyper in hypers]
    assert paths[0] == paths[1]
    assert paths[0][0] == "hyper/condition/parts_0/embeddings"
    assert paths[0][1] == "hyper/condition/parts_1/kernel"
    # The layers keep their names, which differ within a model.
    names = [part.name for hyper in hypers for part in hyper.condition.parts]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["languages", "task_embeddings"])
def test_names_of_the_user_are_kept(name):
    (table,) = make([TaskEmbedding(3, 2, name=name)]).condition.variables
    assert table.path == f"hyper/condition/{name}/embeddings"


class Context(keras.Model):
    """A network without `build` and `compute_output_shape`, whose layers its first call builds."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(4)

    def call(self, inputs):
        return self.inner(inputs)


class Block(layers.Layer):
    """A layer without them."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(4)

    def call(self, inputs):
        return self.inner(inputs)


@pytest.mark.parametrize("make_context", [Context, Block])
def test_a_network_without_build_makes_a_condition(make_context):
    target = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    hyper = Hypernetwork(target, LinearGenerator(2), make_context())
    x, c = np.ones((5, 3), "float32"), np.ones((5, 7), "float32")
    hyper.compile("sgd", "mse", jit_compile=JIT)
    hyper.fit({"inputs": x, "condition": c}, np.ones((5, 2)), verbose=0)
    assert hyper.condition.width() == 4
    assert len(hyper.condition.parts[0].inner.weights) == 2


def test_a_network_that_fails_keeps_its_name():
    class Failing(keras.layers.Layer):
        def build(self, shape):
            raise ValueError("no such shape")

    layer = Failing()
    name = layer.name
    with pytest.raises(ValueError, match="no such shape"):
        make([layer, 3])
    assert layer.name == name
