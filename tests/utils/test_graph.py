"""Walking models: every layer, weight and random generator that Keras finds, by stable names."""

import collections

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import to_numpy
from keras_hyper import Hypernetwork, LowRankGenerator
from keras_hyper.utils.graph import named_weights, seed_states, walk


class Attention(layers.Layer):
    """Names its attributes as KerasHub does, and as TensorFlow names its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._self_attention_layer = layers.Dense(4, name="self_attention_layer")
        self._self_attention_dropout = layers.Dropout(0.5)
        self._self_output = layers.Dense(4)

    def call(self, inputs, training=None):
        x = self._self_attention_layer(inputs)
        return self._self_output(self._self_attention_dropout(x, training=training))


class Collections(layers.Layer):
    """Holds layers in every collection that Keras looks into."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        pair = collections.namedtuple("Pair", "first second")
        self.in_list = [layers.Dense(4), [layers.Dense(4)]]
        self.in_dict = {"a": layers.Dense(4), "b": {"c": layers.Dense(4)}}
        self.in_tuple = (layers.Dense(4), pair(layers.Dense(4), layers.Dense(4)))
        self.in_set = {layers.Dense(4, name="of_set")}
        self.replaced = first = layers.Dense(4)
        self.replaced = layers.Dense(4)
        self.order = [
            *(self.in_list[0], self.in_list[1][0], self.in_dict["a"], self.in_dict["b"]["c"]),
            *(self.in_tuple[0], *self.in_tuple[1], *self.in_set, self.replaced),
        ]
        self.apply_first = lambda x: first(x)

    def call(self, inputs):
        x = self.apply_first(inputs)
        for layer in self.order:
            x = layer(x)
        return x


class Graph(keras.Model):
    """A functional model with a class, as KerasHub's backbones are."""

    def __init__(self, **kwargs):
        inputs = keras.Input((4,))
        kept = layers.Dense(4)
        x = layers.Dense(4)(kept(inputs))
        x = layers.Dense(4, name="projection")(layers.Dense(4)(x))
        super().__init__(inputs, x, **kwargs)
        self.kept = kept  # PyTorch takes no layer before.

    def get_config(self):
        return {"name": self.name}


class Nested(keras.Model):
    """Keras's containers, inside a class of the user's."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = keras.Sequential([layers.Dense(4), layers.Dense(4)])
        self.both = layers.Bidirectional(layers.LSTM(2, return_sequences=True))
        self.stack = layers.RNN([layers.LSTMCell(2), layers.LSTMCell(2)])
        self.each = layers.TimeDistributed(layers.Dense(4))
        self.twins = [layers.Dense(4, name="twin"), layers.Dense(4, name="twin")]

    def call(self, inputs):
        x = self.each(self.both(ops.expand_dims(self.block(inputs), 1)))
        return self.twins[1](self.twins[0](self.stack(x)))


def by_hand():
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(2)])


def functional():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3)(layers.LayerNormalization()(inputs)))


KINDS = [Attention, Collections, Graph, Nested, by_hand, functional]


def built(make):
    model = make()
    model(np.zeros((2, 4), "float32"))
    return model


@pytest.mark.parametrize("make", KINDS)
def test_all_that_keras_finds_is_found_once(make):
    model = built(make)
    named = named_weights(model)
    assert named
    assert sorted(id(w.variable) for w in named) == sorted(id(v) for v in model.weights)
    assert len({w.path for w in named}) == len(named)
    found = [id(layer) for layer in walk(model)]
    assert len(set(found)) == len(found)
    assert set(found) >= {id(layer) for layer in model._flatten_layers()}
    ours, theirs = {id(v) for v in seed_states(model)}, {id(v) for v in model.variables}
    assert ours <= theirs
    assert ours == theirs - {id(v) for v in model.weights}


@pytest.mark.parametrize("make", KINDS[:4])
def test_paths_are_the_same_in_the_next_process(make):
    paths = [w.path for w in named_weights(built(make))]
    # Counters are different there.
    [cls(1) for cls in (layers.Dense, layers.LSTM, layers.LSTMCell) for _ in range(3)]
    assert [w.path for w in named_weights(built(make))] == paths


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (Attention, {"self_attention_layer", "_self_output"}),
        (Graph, {"kept", "dense", "dense_1", "projection"}),
        (by_hand, {"dense", "dense_1"}),
        (
            Nested,
            {
                *("block/dense", "block/dense_1", "each/dense", "twin", "twin_1"),
                *("both/forward_lstm/lstm_cell", "both/backward_lstm/lstm_cell"),
                *(f"stack/stacked_rnn_cells/lstm_cell{n}" for n in ("", "_1")),
            },
        ),
    ],
)
def test_names_are_those_that_the_user_sees(make, names):
    paths = [w.path for w in named_weights(built(make))]
    assert {path.rpartition("/")[0] for path in paths} == names


def test_random_generators_in_collections_are_found():
    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seeds = [keras.random.SeedGenerator(i) for i in range(2)]
            self._self_seed = keras.random.SeedGenerator(2)
            self.by_name = {"a": keras.random.SeedGenerator(3)}

    assert len(seed_states(Noisy())) == 4


@pytest.mark.tensorflow
def test_what_is_skipped_is_tensorflows_own():
    import tensorflow as tf

    from keras_hyper.utils.graph import _TENSORFLOW

    module = tf.Module()
    module.variable, module.child, module.items = tf.Variable(1.0), tf.Module(), [tf.Module()]
    for name in vars(module):
        assert name.startswith(_TENSORFLOW) or not name.startswith("_self_")
    layer = built(Attention)
    ours = {"_self_attention_layer", "_self_attention_dropout", "_self_output"}
    found = {name for name in vars(layer) if name.startswith("_self_")}
    assert {name for name in found if not name.startswith(_TENSORFLOW)} == ours


@pytest.mark.parametrize("make", [Attention, Collections, Graph, Nested])
def test_they_can_be_targets(make, rng, tmp_path):
    target = make(name="target")
    hyper = Hypernetwork(target, LowRankGenerator(2), include="*kernel", composition="add")
    x = rng.normal(size=(3, 4)).astype("float32")
    outputs = to_numpy(hyper(x))
    np.testing.assert_allclose(outputs, to_numpy(target(x)), rtol=1e-5, atol=1e-6)
    for weight in hyper.generated_weights.values():
        weight.gate.assign(0.5)
    assert np.abs(to_numpy(hyper(x)) - outputs).max() > 1e-3
    hyper.save_adapter(tmp_path / "small.npz")
    other = Hypernetwork(
        make(name="target"), LowRankGenerator(2), include="*kernel", composition="add"
    )
    other(x)
    assert list(other.generated_weights) == list(hyper.generated_weights)
    other.load_adapter(tmp_path / "small.npz")
    for a, b in zip(
        hyper.generated_weights.values(), other.generated_weights.values(), strict=True
    ):
        np.testing.assert_array_equal(to_numpy(a.embedding), to_numpy(b.embedding))
