"""`summary` names the layers that are called once for each sample."""

import keras
import pytest
from keras import layers

from keras_hyper import ChunkedGenerator, Hypernetwork, register_application, summary
from keras_hyper.application import table


class Gain(layers.Layer):
    def build(self, input_shape):
        self.gain = self.add_weight(shape=input_shape[-1:], name="gain")

    def call(self, inputs):
        return inputs * self.gain


def hyper(condition, include="*"):
    target = keras.Sequential([keras.Input((3,)), layers.Dense(4), Gain(name="gains")])
    return Hypernetwork(target, ChunkedGenerator(4), condition, include=include)


@pytest.mark.parametrize(
    ("arguments", "mapped"), [((2,), ("gains",)), ((2, "dense*"), ()), ((None,), ())]
)
def test_the_layers_are_named(arguments, mapped, capsys):
    assert summary(hyper(*arguments)).mapped == mapped
    assert ("gains is called once for each sample" in capsys.readouterr().out) is bool(mapped)


def test_a_registered_class_is_not_named(monkeypatch):
    monkeypatch.setattr(table, "_applications", dict(table._applications))
    register_application(Gain)(lambda layer, weights, inputs: inputs)
    assert not summary(hyper(2)).mapped
