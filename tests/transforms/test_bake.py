"""Baking: an ordinary model with equal outputs, or a refusal that names what stands in the way."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_hyper
from helpers import JIT, needs_keras, to_numpy
from keras_hyper import (
    HyperConv2D,
    HyperDense,
    Hypernetwork,
    TaskEmbedding,
    TiledKernelGenerator,
    bake,
)
from keras_hyper.utils.graph import walk

IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
ROWS = np.random.default_rng(1).normal(size=(3, 6)).astype("float32")


def kernels():
    return TiledKernelGenerator((3, 3, 4, 4), embedding_dim=3)


def sequential():
    shared = kernels()
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            HyperConv2D(4, 3, generator=shared, padding="same", activation="relu"),
            keras.layers.BatchNormalization(),
            HyperConv2D(8, 3, generator=shared, strides=2, use_bias=False),
            keras.layers.Flatten(),
            HyperDense(5, generate_bias=True, bias_initializer="ones"),
        ]
    )


def layer_called_twice():
    inputs = keras.Input((8, 8, 4))
    layer = HyperConv2D(4, 3, padding="same", generator=kernels())
    hidden = keras.layers.Add()([layer(inputs), layer(layer(inputs))])
    return keras.Model(inputs, hidden)


def nested():
    inner = keras.Sequential([keras.Input((6,)), HyperDense(6), keras.layers.LayerNormalization()])
    x = inputs = keras.Input((6,))
    x = keras.layers.Dense(6)(inner(inner(x)))
    return keras.Model(inputs, [x, HyperDense(2, name="second")(x)])


def wrapped():
    return keras.Sequential(
        [
            keras.Input((4, 6)),
            keras.layers.TimeDistributed(HyperDense(3)),
            keras.layers.Bidirectional(keras.layers.LSTM(2)),
        ]
    )


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    """Layers in a list, in a dict, in a layer of its own, and a shared generator."""

    def __init__(self, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth
        self.shared = TiledKernelGenerator((4, 4), embedding_dim=3)
        self.blocks = [HyperDense(6, generator=self.shared) for _ in range(depth)]
        self.heads = {"a": HyperDense(2), "b": keras.layers.Dense(2)}
        self.gate = Gate()

    def call(self, inputs):
        for block in self.blocks:
            inputs = self.gate(block(inputs))
        return self.heads["a"](inputs) + self.heads["b"](inputs)

    def get_config(self):
        return {**super().get_config(), "depth": self.depth}


@keras.saving.register_keras_serializable("tests")
class Gate(keras.layers.Layer):
    """A composite layer with a hyper layer and a variable of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = HyperDense(6, activation="sigmoid")

    def build(self, input_shape):
        self.inner.build(input_shape)
        self.scale = self.add_weight(shape=(6,), initializer="random_normal")

    def call(self, inputs):
        return inputs * self.inner(inputs) + self.scale


def subclassed():
    model = Subclassed(3)
    model(ROWS)
    return model


def used_inside_and_outside(cls=HyperDense):
    layer = cls(6, name="mine")
    inputs = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), layer])
    return keras.Model(inputs, HyperDense(2)(inner(layer(inputs))))


def hypernetworks_inside():
    target = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6), HyperDense(2)])
    hyper = Hypernetwork(target, condition=TaskEmbedding(4, 3), include="dense*")
    inputs = keras.Input((6,))
    static = Hypernetwork(keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)]))
    return keras.Model(inputs, [hyper.at(1)(inputs), hyper.at(2)(inputs), static(inputs)])


@keras.saving.register_keras_serializable("tests")
class Step(keras.layers.Layer):
    """A recurrent cell with a hyper layer."""

    state_size = output_size = 4

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = HyperDense(4, activation="tanh", name="inner")

    def build(self, input_shape):
        self.inner.build((input_shape[0], input_shape[-1] + 4))

    def call(self, inputs, states):
        outputs = self.inner(keras.ops.concatenate([inputs, states[0]], -1))
        return outputs, [outputs]


def cell():
    inner = keras.layers.RNN(Step())
    return keras.Sequential([keras.Input((5, 3)), keras.layers.Bidirectional(inner)])


@keras.saving.register_keras_serializable("tests")
class Everywhere(keras.layers.Layer):
    """Layers in all places, made from an attribute of a generator."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        generator = TiledKernelGenerator((3, 3), embedding_dim=3)
        self._width = 2 * generator.embedding_dim
        self.generators = [generator]
        self.both = self.again = HyperDense(self._width, generator=generator, name="inner")
        self.__private = HyperDense(self._width, name="inner")
        self.last = {"z": HyperDense(self._width, "tanh"), "a": HyperDense(self._width)}
        self.nested = [(HyperDense(self._width), {"x": keras.layers.Dense(self._width)})]
        self.block = keras.Sequential([HyperDense(self._width, "relu"), HyperDense(self._width)])
        self.wrapper = keras.layers.TimeDistributed(HyperDense(self._width))

    def build(self, input_shape):
        self.late = HyperDense(self._width, name="inner")
        self.late.build(input_shape)

    def call(self, inputs):
        inputs = self.late(self.__private(self.again(self.both(inputs))))
        for layer in self.last.values():
            inputs = layer(inputs)
        inputs = self.nested[0][1]["x"](self.nested[0][0](inputs))
        return self.wrapper(self.block(inputs)[:, None])


def everywhere():
    inputs = keras.Input((6,))
    return keras.Model(inputs, Everywhere()(inputs))


def inputs_of(model):
    if isinstance(model, Subclassed):
        return ROWS
    return np.random.default_rng(2).normal(size=(3, *model.input_shape[1:])).astype("float32")


MODELS = [
    sequential,
    layer_called_twice,
    nested,
    wrapped,
    subclassed,
    used_inside_and_outside,
    hypernetworks_inside,
    cell,
    everywhere,
]
over_models = pytest.mark.parametrize("make", MODELS, ids=[make.__name__ for make in MODELS])


@over_models
def test_outputs_are_equal_and_nothing_of_ours_is_left(make):
    model = make()
    x = inputs_of(model)
    for v in model.weights:  # No weight at a value that a new model would have anyway.
        v.assign(v.numpy() + 0.1 * np.random.default_rng(3).random(v.shape))
    plain = bake(model)
    assert type(plain) is type(model)
    expected, actual = to_numpy(model(x)), to_numpy(plain(x))
    # A bias that is generated is added to the product in another order.
    rounding = 1e-6 if make is hypernetworks_inside else 0
    for a, b in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)
    assert not any(type(layer).__module__.startswith("keras_hyper") for layer in walk(plain))
    ours = {id(v) for v in model.variables}
    assert not any(id(v) in ours for v in plain.variables)


# Keras cannot read the file of a layer that is used inside a nested model and outside.
@pytest.mark.parametrize(
    "make", [m for m in MODELS if m is not used_inside_and_outside], ids=lambda m: m.__name__
)
def test_the_baked_model_saves_trains_and_reloads(make, tmp_path):
    plain = bake(make())
    x = inputs_of(plain)
    outputs = to_numpy(plain(x))
    plain.save(tmp_path / "plain.keras")
    if make in (
        subclassed,
        cell,
        everywhere,
    ):  # Classes that make hyper layers: documented, and loud.
        with pytest.raises(ValueError, match="could not be loaded"):
            keras.models.load_model(tmp_path / "plain.keras")
    else:
        again = to_numpy(keras.models.load_model(tmp_path / "plain.keras")(x))
        for a, b in zip(keras.tree.flatten(outputs), keras.tree.flatten(again), strict=True):
            np.testing.assert_array_equal(a, b)
    plain.compile("sgd", "mse", jit_compile=JIT)
    plain.fit(x, keras.tree.map_structure(np.zeros_like, outputs), verbose=0)


def test_a_baked_file_opens_where_the_package_is_not(tmp_path):
    model = sequential()
    bake(model).save(tmp_path / "plain.keras")
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", to_numpy(model(IMAGES)))
    program = f"""
import sys
sys.modules["keras_hyper"] = None
import keras, numpy as np
model = keras.models.load_model(r"{tmp_path / "plain.keras"}")
x, y = np.load(r"{tmp_path / "x.npy"}"), np.load(r"{tmp_path / "y.npy"}")
np.testing.assert_allclose(keras.ops.convert_to_numpy(model(x)), y, rtol=1e-5, atol=1e-6)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_trainable_flags_are_kept():
    model = sequential()
    model.layers[0].trainable = False
    model.layers[1].trainable = False
    plain = bake(model)
    assert [layer.trainable for layer in plain.layers] == [False, False, True, True, True]


def test_layers_that_were_unfrozen_in_a_frozen_model_stay_trainable():
    model = sequential()
    model.trainable = False
    model.layers[2].trainable = True
    plain = bake(model)
    assert not plain.trainable
    assert [layer.trainable for layer in plain.layers] == [False, False, True, False, False]


@pytest.mark.tensorflow  # Keras's lookup layers need it.
def test_vocabularies_come_along():
    lookup = keras.layers.IntegerLookup(name="lookup")
    lookup.adapt(np.array([5, 7, 7, 9]))
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="int64"),
            lookup,
            keras.layers.Embedding(6, 4),
            keras.layers.Flatten(),  # `Dense` of Keras 3.12 rounds otherwise at rank 3.
            HyperDense(3),
        ]
    )
    x = np.array([[7], [9], [1]])
    np.testing.assert_array_equal(to_numpy(bake(model)(x)), to_numpy(model(x)))


def test_mixed_precision_outputs_are_equal():
    keras.config.set_dtype_policy("mixed_float16")
    model = sequential()
    np.testing.assert_array_equal(to_numpy(bake(model)(IMAGES)), to_numpy(model(IMAGES)))


class Functional(keras.Model):
    """A functional model of a class with its own constructor."""

    def __init__(self, width=3, **kwargs):
        inputs = {"x": keras.Input((6,), name="x"), "y": keras.Input((6,), name="y", optional=True)}
        outputs = HyperDense(width)(inputs["x"] + keras.ops.abs(inputs["x"]))
        super().__init__(inputs, {"z": outputs}, **kwargs)


class Doubled(Functional):
    def call(self, inputs, **kwargs):
        return {"z": 2 * super().call(inputs, **kwargs)["z"]}


@needs_keras("3.14", "functional models with an input that is not connected")
def test_a_compiled_functional_model_of_another_class():
    model = Functional()
    model.compile("sgd", {"z": lambda y, p: keras.ops.mean(y - p)})
    plain = bake(model)
    assert not plain.compiled
    ours, theirs = (m.layers[:2] for m in (model, plain))
    assert [x.get_config() for x in ours] == [x.get_config() for x in theirs]
    x = {"x": ROWS, "y": None}
    np.testing.assert_array_equal(to_numpy(plain(x)["z"]), to_numpy(model(x)["z"]))
    with pytest.raises(
        ValueError, match="Layer 'hyper_dense.*' cannot be baked.*no attribute holds"
    ):
        bake(Doubled())


def test_baked_variables_have_paths_below_their_layers():
    inputs = keras.Input((6,))
    plain = bake(keras.Model(inputs, Everywhere()(Everywhere()(inputs))))
    paths = [v.path for v in plain.weights]
    assert len(set(paths)) == len(paths)


def test_a_hyper_layer_becomes_a_stock_layer():
    layer = HyperDense(4, "relu", name="mine", trainable=False, composition="add")
    layer.build((None, 6))
    stock = layer.to_stock()
    assert (type(stock), stock.name, stock.trainable) == (keras.layers.Dense, "mine", False)
    np.testing.assert_array_equal(to_numpy(stock(ROWS)), to_numpy(layer(ROWS)))
    empty = layer.to_stock(build=False)
    assert (empty.built, empty.units) == (False, 4)


class Mine(HyperDense):
    pass


class NoConfig(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.inner = layer

    def call(self, inputs):
        return self.inner(inputs)


class Changing(Subclassed):
    """Constructs something else the second time."""

    made = 0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if Changing.made:
            self.late = keras.layers.Dense(6)
        Changing.made += 1

    def call(self, inputs):
        return super().call(self.late(inputs) if hasattr(self, "late") else inputs)


def conditioned():
    inputs, condition = keras.Input((6,)), keras.Input((3,))
    return keras.Model([inputs, condition], HyperDense(4, name="mine")(inputs, condition=condition))


def called(model):
    model(ROWS)
    return model


class Optional(keras.Model):
    """Hands its layer an argument that the stock layer does not have."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = HyperDense(3)

    def call(self, inputs, condition=None):
        return self.inner(inputs, condition=condition)


REFUSED = {
    "two models": (
        lambda: used_inside_and_outside(keras.layers.Dense),
        "Layer 'mine' .Dense. cannot be baked: it is used in more than one",
    ),
    "argument of ours": (lambda: called(Optional()), "cannot be baked: constructing Optional"),
    "conditioned": (
        conditioned,
        "Layer 'mine' .HyperDense. cannot be baked: it is conditioned.*layer.generate.*.Dense",
    ),
    "subclass": (
        lambda: keras.Sequential([keras.Input((6,)), Mine(2, name="mine")]),
        "Layer 'mine' cannot be baked: Mine is a subclass of HyperDense",
    ),
    "unbuilt": (lambda: Subclassed(2, name="mine"), "Model 'mine' is not built"),
    "no config": (
        lambda: called(NoConfig(HyperDense(3))),
        "cannot be baked: constructing NoConfig again",
    ),
    "changing": (lambda: called(Changing()), "gave a model of another structure"),
    "task embedding": (
        lambda: keras.Sequential([keras.Input((), dtype="int32"), TaskEmbedding(3, 2, name="t")]),
        "Layer 't' .TaskEmbedding. of model .* cannot be baked: it has no equivalent Keras layer",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_by_name(what):
    make, message = REFUSED[what]
    model = make()
    with pytest.raises(ValueError, match=message):
        bake(model)


class Unregistered(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def test_layers_need_not_be_registered():
    model = keras.Sequential([keras.Input((6,)), Unregistered(), HyperDense(2)])
    np.testing.assert_array_equal(to_numpy(bake(model)(ROWS)), to_numpy(model(ROWS)))
    assert keras_hyper.clone(model)(ROWS).shape == (3, 2)


@pytest.mark.parametrize("function", [bake, keras_hyper.clone, keras_hyper.summary])
def test_only_models(function):
    with pytest.raises(TypeError, match=r"`model` must be a Keras model.* Received: model='m"):
        function("m.keras")


def test_making_hyper_layers_works_again_after_a_refusal():
    with pytest.raises(ValueError, match="cannot be baked"):
        bake(called(NoConfig(HyperDense(3))))
    assert type(HyperDense(3)) is HyperDense
    assert type(kernels()) is TiledKernelGenerator
