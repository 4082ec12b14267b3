"""The variables of a shared generator have the same paths, whichever layer builds it first."""

import keras
import numpy as np
import pytest
from keras import layers

from conformance.descriptors import chunked, low_rank, mlp, templates, tiles
from keras_hyper import (
    ChunkedGenerator,
    GeneratedWeight,
    HyperDense,
    Hypernetwork,
    LinearGenerator,
)

GENERATORS = {
    "linear": lambda **kwargs: LinearGenerator(3, **kwargs),
    "mlp": mlp,
    "tiled": tiles,
    "chunked": chunked,
    "low-rank": low_rank,
    "templates": templates(),
}


def named(make):
    """Returns a generator with a name of the user's."""
    config = {**make().get_config(), "name": "shared"}
    return type(make()).from_config(config)


class Product(layers.Layer):
    """`x W`, a user's layer that holds a generated weight."""

    def __init__(self, generator, **kwargs):
        super().__init__(**kwargs)
        self.made = GeneratedWeight(generator, (4, 4))

    def build(self, input_shape):
        self.made.build()

    def call(self, inputs):
        return self.made.kernel().dense(inputs)


class Pair(keras.Model):
    """Two layers, the second of which may be called first."""

    def __init__(self, generator, backwards, **kwargs):
        super().__init__(**kwargs)
        self.first = HyperDense(4, generator=generator, name="first")
        self.second = Product(generator, name="second")
        self.backwards = backwards

    def call(self, inputs):
        order = (self.second, self.first) if self.backwards else (self.first, self.second)
        return order[1](order[0](inputs))


def subclassed(generator, backwards):
    model = Pair(generator, backwards)
    model(np.ones((2, 4), "float32"))


def functional(generator, backwards):
    x = keras.Input((4,))
    pair = [HyperDense(4, generator=generator, name="a"), Product(generator, name="b")]
    if backwards:
        pair = pair[::-1]
    keras.Model(x, pair[1](pair[0](x)))


def paths(layer):
    return sorted(v.path for v in layer.variables)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("model", [functional, subclassed])
def test_the_paths_do_not_depend_on_the_order_of_building(model, make):
    found = []
    for backwards in (False, True):
        generator = named(make)
        model(generator, backwards)
        found.append(paths(generator))
    assert found[0] == found[1]
    assert found[0]
    assert all(path.startswith("shared/") for path in found[0])
    assert generator.path == "shared"


def test_the_paths_are_kept_in_files(tmp_path):
    generator = named(mlp)
    x = keras.Input((4,))
    outer = keras.Sequential([HyperDense(4, generator=generator)])
    model = keras.Model(x, HyperDense(4, generator=generator)(outer(x)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert paths(loaded.layers[-1].generator) == paths(generator)


def test_a_layer_has_the_paths_of_its_own_generator():
    pair = [HyperDense(64, name=name) for name in "ab"]
    keras.Sequential([keras.Input((64,)), *pair], name="model")
    for layer in pair:
        made = paths(layer.kernel_weight.generator)
        assert made
        assert all(path.startswith(f"model/{layer.name}/generator/") for path in made)


@pytest.mark.parametrize("share", [False, True])
def test_a_hypernetwork_has_the_paths_of_its_copies(share):
    target = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dense(4)])
    generator = LinearGenerator(3, name="head_of")
    hyper = Hypernetwork(target, generator, include="*kernel", share_generators=share, name="hyper")
    hyper(np.ones((2, 4), "float32"))
    copies = {id(w.generator): w.generator for w in hyper.generated_weights.values()}
    made = [path for copy in copies.values() for path in paths(copy)]
    assert len(set(made)) == len(made) == (2 if share else 4)
    assert all(path.startswith("hyper/head_of_") for path in made)


@pytest.mark.parametrize("generator", [None, ChunkedGenerator(8, name="chunks")])
def test_a_generator_of_every_shape_in_a_hypernetwork(generator):
    target = keras.Sequential([keras.Input((40,)), layers.Dense(60), layers.Dense(40)])
    hyper = Hypernetwork(target, generator, name="hyper")
    hyper(np.ones((2, 40), "float32"))
    start = "hyper_generator/" if generator is None else "chunks/"
    assert all(path.startswith(start) for path in paths(hyper.generator))
