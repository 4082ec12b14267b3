"""No weight of an adapted layer is written out for each sample in a target's program."""

import keras
import pytest
from keras import layers

from helpers import largest_tensor
from keras_hyper import Hypernetwork, LinearGenerator, LowRankGenerator, TemplateGenerator

BATCH, WIDTH = 32, 64


@keras.saving.register_keras_serializable("test_programs")
class SelfAttention(layers.Layer):
    """Attends from a sequence to itself, in two heads."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, WIDTH // 2)

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, inputs):
        return self.attention(inputs, inputs)


TARGETS = {
    "dense": lambda: layers.Dense(WIDTH),
    "query": lambda: layers.EinsumDense("abc,cde->abde", (None, 2, WIDTH // 2), bias_axes="de"),
    "several summed axes": lambda: keras.Sequential(
        [layers.Reshape((-1, 2, WIDTH // 2)), layers.EinsumDense("btnh,nhd->btd", (None, WIDTH))]
    ),
    "attention": SelfAttention,
}
THIN = {
    "low rank": ("replace", lambda: LowRankGenerator(2, 4)),
    "low rank, added": ("add", lambda: LowRankGenerator(2, 4)),
    "scaled": ("scale", lambda: LowRankGenerator(1, 4)),
}
ONE_POSITION = {
    **THIN,
    "linear": ("replace", lambda: LinearGenerator(4)),
    "linear, added": ("add", lambda: LinearGenerator(4)),
    "linear, multiplied": ("multiply", lambda: LinearGenerator(4)),
    "templates": ("replace", lambda: TemplateGenerator(4)),
    "templates, added": ("add", lambda: TemplateGenerator(4)),
}
CASES = [(target, kind, 3) for target in TARGETS for kind in THIN]
CASES += [
    (target, kind, 1) for target in ("dense", "query") for kind in ONE_POSITION if kind not in THIN
]


@pytest.mark.tensorflow
@pytest.mark.parametrize(("target", "kind", "positions"), CASES)
def test_no_kernel_is_formed_for_each_sample(target, kind, positions):
    """Forward and backward."""
    import tensorflow as tf

    composition, generator = ONE_POSITION[kind]
    hyper = Hypernetwork(
        TARGETS[target](), generator(), condition=3, include="*kernel", composition=composition
    )
    hyper.build((None, positions, WIDTH), (None, 3))
    inputs = tf.TensorSpec((BATCH, positions, WIDTH))
    assert largest_tensor(hyper, inputs, tf.TensorSpec((BATCH, 3))) < BATCH * WIDTH * WIDTH
