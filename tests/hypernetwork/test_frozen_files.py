"""What is frozen and what is generated comes back from files, however the target freezes."""

import copy

import keras
import numpy as np
import pytest
from keras import layers

from helpers import to_numpy
from keras_hyper import Hypernetwork, LowRankGenerator, TaskEmbedding


@keras.saving.register_keras_serializable("frozen")
class Block(layers.Layer):
    """Layers in a private attribute and in a list, constructed by the class."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self._self_attention = layers.Dense(units, name="attention")
        self.rest = [layers.Dense(units), layers.LayerNormalization()]

    def call(self, inputs):
        x = self._self_attention(inputs)
        for layer in self.rest:
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("frozen")
class Backbone(keras.Model):
    """A functional model as in KerasHub: layers have the name of the model in theirs."""

    def __init__(self, units=4, name=None, **kwargs):
        prefix = "" if name is None else f"{name}_"
        inputs = keras.Input((4,))
        embedding = layers.Dense(units, name=f"{prefix}embedding")
        x = Block(units, name=f"{prefix}block")(embedding(inputs))
        super().__init__(inputs, layers.Dense(2, name=f"{prefix}head")(x), name=name, **kwargs)
        self.units = units

    def get_config(self):
        return {"units": self.units, "name": self.name, "trainable": self.trainable}


@keras.saving.register_keras_serializable("frozen")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._blocks = [Block(4), Block(4, trainable=False)]
        self._self_head = layers.Dense(2)

    def call(self, inputs):
        for block in self._blocks:
            inputs = block(inputs)
        return self._self_head(inputs)


def frozen(make):
    def freeze():
        model = make()
        model.trainable = False
        return model

    return freeze


def head_alone():
    model = Backbone()
    model.trainable = False
    model.layers[-1].trainable = True
    return keras.Sequential([model, layers.Dense(3)])


def one_variable():
    model = Backbone()
    model.layers[1].bias.trainable = False
    return model


def from_a_file(tmp_path):
    frozen(Backbone)().save(tmp_path / "target.keras")
    return keras.saving.load_model(tmp_path / "target.keras")


def adapter(target, **kwargs):
    options = {"generator": LowRankGenerator(2), "include": "*kernel", "composition": "add"}
    hyper = Hypernetwork(target, condition=TaskEmbedding(3, 4), **{**options, **kwargs})
    hyper(np.zeros((2, 4), "float32"), condition=0)
    return hyper


def flags(hyper):
    """Returns which variables are trained, in the order of the model."""
    return [(v.shape, v.trainable) for v in hyper.weights]


KINDS = {
    "backbone": frozen(Backbone),
    "subclassed": frozen(Subclassed),
    "part": Subclassed,
    "head": head_alone,
    "variable": one_variable,
    "nothing": Backbone,
    "file": from_a_file,
}


def through_file(hyper, path):
    hyper.save(path / "hyper.keras")
    return keras.saving.load_model(path / "hyper.keras")


WAYS = {
    "file": through_file,
    "deepcopy": lambda hyper, path: copy.deepcopy(hyper),
    "config": lambda hyper, path: Hypernetwork.from_config(hyper.get_config()),
}


@pytest.mark.parametrize(
    ("kind", "base_trainable", "way"),
    [
        *((kind, False, "file") for kind in KINDS),
        *((kind, True, "file") for kind in ("backbone", "head", "variable")),
        *((kind, False, way) for kind in ("backbone", "part") for way in ("deepcopy", "config")),
    ],
)
def test_what_is_frozen_comes_back(kind, base_trainable, way, rng, tmp_path):
    make = KINDS[kind]
    target = make(tmp_path) if kind == "file" else make()
    before = target.trainable
    hyper = adapter(target, base_trainable=base_trainable)
    assert target.trainable == before
    again = WAYS[way](hyper, tmp_path)
    x = rng.normal(size=(3, 4)).astype("float32")
    if way == "config":
        again(x, condition=1)
    else:
        outputs = [to_numpy(model(x, condition=1)) for model in (hyper, again)]
        np.testing.assert_allclose(*outputs, rtol=1e-6)
    assert flags(again) == flags(hyper)
    assert len(again.trainable_variables) == len(hyper.trainable_variables)
    assert list(again.generated_weights) == list(hyper.generated_weights)
    assert set(again.get_config()["record"]["frozen"]) == set(
        hyper.get_config()["record"]["frozen"]
    )


@pytest.mark.parametrize("kind", ["backbone", "subclassed", "nothing"])
def test_what_was_frozen_or_thawed_since_comes_back(kind, tmp_path):
    target = KINDS[kind]()
    hyper = adapter(target)
    for layer in target.layers:
        layer.trainable = not layer.trainable
    again = through_file(hyper, tmp_path)
    assert flags(again) == flags(hyper)
    hyper.trainable = again.trainable = False
    third = through_file(again, tmp_path)
    assert third.trainable_variables == []
    assert flags(third) == flags(hyper)


def test_a_frozen_target_stays_as_it_is_in_training(rng, tmp_path):
    hyper = through_file(adapter(KINDS["backbone"]()), tmp_path)
    before = [to_numpy(v.value).copy() for v in hyper.target.weights]
    model = hyper.at(1)
    model.compile("adam", "mse")
    model.fit(rng.normal(size=(4, 4)), rng.normal(size=(4, 2)), verbose=0)
    for v, old in zip(hyper.target.weights, before, strict=True):
        np.testing.assert_array_equal(to_numpy(v.value), old)


def test_names_that_a_file_changes_do_not_matter(rng, tmp_path):
    """Loaded, the layers are called `backbone_head`; patterns are of the first names."""
    generator = {"head": LowRankGenerator(1), "block/*": LowRankGenerator(2)}
    hyper = adapter(Backbone(), generator=generator, include=["head/kernel", "block/*kernel"])
    assert list(hyper.generated_weights) == [
        "block/attention/kernel",
        "block/rest/0/kernel",
        "head/kernel",
    ]
    again = through_file(through_file(hyper, tmp_path), tmp_path)
    assert again.target.layers[-1].name == "backbone_head"
    assert list(again.generated_weights) == list(hyper.generated_weights)
    x = rng.normal(size=(3, 4)).astype("float32")
    outputs = [to_numpy(m(x)) for m in (hyper.bake(condition=2), again.bake(condition=2))]
    np.testing.assert_allclose(*outputs, rtol=1e-6)
    hyper.save_adapter(tmp_path / "small.npz")
    again.load_adapter(tmp_path / "small.npz")


def test_a_record_of_another_target_is_an_error():
    config = adapter(Backbone()).get_config()
    other = keras.saving.serialize_keras_object(Subclassed())
    with pytest.raises(ValueError, match="target does not match the configuration"):
        Hypernetwork.from_config({**config, "target": other})(np.zeros((2, 4)), condition=0)
