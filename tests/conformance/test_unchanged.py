"""No operation of this package changes the model that it is given."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from keras import layers

from export.models import CASES, outputs_of
from helpers import CAN_EXPORT, to_numpy
from keras_hyper import (
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    LowRankGenerator,
    NoiseCondition,
    TaskEmbedding,
    bake,
    clone,
    export_saved_model,
    plan,
    record_weights,
    summary,
    visualize,
)
from keras_hyper.callbacks import HyperTensorBoard
from keras_hyper.export import export_file
from keras_hyper.models.graph import walk
from keras_hyper.rnn.recurrent_layer import RecurrentLayer
from keras_hyper.saving import save_model

X, C = keras.Input, keras.Input


def computed_condition():
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    return keras.Model([x, c], HyperDense(3)(x, condition=layers.Dense(8)(c)))


def own_context():
    """A layer whose condition is made of its own inputs, called twice."""
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    context = layers.Dense(4, activation="tanh", name="context")(layers.Concatenate()([x, c]))
    layer = HyperDense(5, name="twice")
    return keras.Model([x, c], layer(layer(x, condition=context), condition=context) + x)


def nested():
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    inner = keras.Model([x, c], HyperDense(4)(x, condition=layers.Dense(2)(c)))
    a, b = keras.Input((5,), name="a"), keras.Input((3,), name="b")
    return keras.Model([a, b], layers.Dense(2)(inner([a, b]) + inner([2 * a, b])))


def part():
    """A functional model from inner tensors of a larger one."""
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    y, context = layers.Dense(4)(x), layers.Dense(2)(c)
    whole = keras.Model([x, c], HyperDense(3)(y, condition=context))
    part = keras.Model([y, context], whole.output)
    part.whole = lambda: whole  # Keep it alive, and out of sight.
    return part


def frozen():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.BatchNormalization()])
    target.layers[0].bias.trainable = False
    target.layers[1].trainable = False
    return Hypernetwork(
        target, LowRankGenerator(2), condition=3, include="*kernel", composition="add"
    )


def in_a_model():
    hyper = Hypernetwork(keras.Sequential([keras.Input((5,)), layers.Dense(3)]), condition=3)
    x, c = keras.Input((5,), name="x"), keras.Input((3,), name="c")
    return keras.Model([x, c], layers.Dense(2)(hyper(x, condition=c)))


def at_in_a_model():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    hyper = Hypernetwork(target, condition=TaskEmbedding(4, 3))
    x = keras.Input((5,), name="x")
    return keras.Model(x, [hyper.at(1)(x), hyper.at(2)(x)])


@keras.saving.register_keras_serializable("tests")
class Named(keras.Model):
    """A model of the user's, whose `call` has names of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = HyperDense(4), layers.Dense(2)
        self.first.trainable = False

    def build(self, images_shape):
        self.first.build(images_shape)
        self.second.build((*images_shape[:-1], 4))

    def call(self, images):
        return self.second(self.first(images))


def subclassed():
    model = Named()
    model(np.ones((2, 5), "float32"))
    return model


def over_subclassed():
    hyper = Hypernetwork(Named(), condition=3)
    hyper(np.ones((2, 5), "float32"), condition=np.ones((2, 3), "float32"))
    return hyper


def trained():
    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, layers.Dropout(0.5)(HyperLSTM(4, hyper_units=2)(x)))
    model.compile("adam", "mse")
    model.fit(np.ones((2, 4, 3)), np.ones((2, 4)), verbose=0)
    return model


def noisy():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    return Hypernetwork(target, condition=[TaskEmbedding(4, 3), NoiseCondition(2, seed=1)])
