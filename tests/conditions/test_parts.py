"""Parts of a condition: their names."""

import keras
import pytest
from keras import layers

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
