"""Files of hypernetworks: adapters, pretrained targets, copies, SavedModels."""

import copy

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import JIT, shake, to_numpy
from hypernetwork.targets import Residual, make_dense, make_lstm, make_normalized
from keras_hyper import (
    ChunkedGenerator,
    Hypernetwork,
    LowRankGenerator,
    TaskEmbedding,
    bake,
    clone,
)
from keras_hyper.utils.graph import named_weights


def adapter(target, **kwargs):
    arguments = {
        "generator": LowRankGenerator(2, 3),
        "condition": TaskEmbedding(3, 4),
        "include": "*kernel",
        "composition": "add",
    }
    return Hypernetwork(target, **{**arguments, **kwargs})


@pytest.fixture
def pretrained(rng, tmp_path):
    """Returns a model that was trained, and the path of its file."""
    model = make_normalized()
    model.compile("sgd", "mse")
    model.fit(rng.normal(size=(8, 5)), rng.normal(size=(8, 3)), epochs=2, verbose=0)
    model.save(tmp_path / "base.keras")
    return model, tmp_path / "base.keras"


def test_an_adapter_over_a_model_from_a_file(pretrained, rng, tmp_path):
    base, path = pretrained
    x, y = rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 3))
    target = keras.saving.load_model(path)
    target.trainable = False
    hyper = adapter(target)
    np.testing.assert_allclose(to_numpy(hyper(x, condition=2)), to_numpy(base(x)), rtol=1e-6)
    model = hyper.at(2)
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    model.fit(x, y, epochs=3, verbose=0)
    tuned = to_numpy(hyper(x, condition=2))
    assert np.abs(tuned - to_numpy(base(x))).max() > 1e-4
    np.testing.assert_array_equal(
        to_numpy(target.get_layer("a").kernel.value), to_numpy(base.get_layer("a").kernel.value)
    )

    hyper.save_adapter(tmp_path / "small.npz")
    small = sum(a.size for a in np.load(tmp_path / "small.npz").values())
    # Statistics move, and belong to it; 69 numbers of the target are frozen.
    assert small == hyper.count_params() - 69
    again = keras.saving.load_model(path)
    again.trainable = False
    again = adapter(again)
    assert np.abs(to_numpy(again(x, condition=2)) - tuned).max() > 1e-4
    again.load_adapter(tmp_path / "small.npz")
    np.testing.assert_allclose(to_numpy(again(x, condition=2)), tuned, rtol=1e-6)

    # The file of the whole has the base, too.
    hyper.save(tmp_path / "whole.keras")
    whole = keras.saving.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(to_numpy(whole(x, condition=2)), tuned, rtol=1e-6)
    assert not any(weight.base.trainable for weight in whole.generated_weights.values())


SHARED = ChunkedGenerator(5, hidden_units=(4,))


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"generator": SHARED},
        {"generator": {"a/*": SHARED, "*": LowRankGenerator(2)}},
        {"generator": SHARED, "base_trainable": False},
    ],
    ids=["own", "shared", "partly", "frozen"],
)
def test_an_adapter_holds_each_weight_once_that_is_no_frozen_base(kwargs, pretrained, tmp_path):
    """A generator that several weights share is written once."""
    hyper = adapter(pretrained[0], **kwargs)
    hyper.save_adapter(tmp_path / "small.npz")
    names = list(np.load(tmp_path / "small.npz"))
    frozen = sum(np.prod(weight.weight_shape) for weight in hyper.generated_weights.values())
    assert sum(np.load(tmp_path / "small.npz")[n].size for n in names) == (
        hyper.count_params() - frozen
    )


def test_an_adapter_does_not_depend_on_what_was_frozen_since(pretrained, tmp_path):
    hyper = adapter(pretrained[0])
    hyper.save_adapter(tmp_path / "before.npz")
    hyper.trainable = False
    hyper.save_adapter(tmp_path / "frozen.npz")
    names = list(np.load(tmp_path / "before.npz"))
    assert list(np.load(tmp_path / "frozen.npz")) == names
    # A base that is thawed is trained, and would be lost.
    hyper.trainable = True
    hyper.target.get_layer("a").kernel.trainable = True
    hyper.save_adapter(tmp_path / "thawed.npz")
    more = set(np.load(tmp_path / "thawed.npz")) - set(names)
    assert [name.split("/")[:2] for name in more] == [["a", "kernel"]]


def test_the_generator_that_was_chosen_is_in_the_file(rng, tmp_path, monkeypatch):
    hyper = Hypernetwork(make_dense())
    x = rng.normal(size=(4, 5)).astype("float32")
    hyper.save(tmp_path / "hyper.keras")
    # Another version may choose another.
    monkeypatch.setattr("keras_hyper.hypernetwork.generating_model.default_for", None)
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(to_numpy(again(x)), to_numpy(hyper(x)), rtol=1e-6)


def test_the_error_for_an_adapter_of_another_rank_lists_the_differing_shapes(tmp_path):
    hyper, other = (adapter(make_dense(), generator=LowRankGenerator(r, 3)) for r in (1, 2))
    for name, model in (("one", hyper), ("other", other)):
        model.save_adapter(tmp_path / f"{name}.npz")
    ours, theirs = np.load(tmp_path / "one.npz"), np.load(tmp_path / "other.npz")
    shapes = [(n, theirs[n].shape, ours[n].shape) for n in sorted(ours)]
    differing = [entry for entry in shapes if entry[1] != entry[2]]
    assert 0 < len(differing) < len(shapes)
    with pytest.raises(ValueError, match="adapter of another model") as error:
        hyper.load_adapter(tmp_path / "other.npz")
    assert str(error.value).endswith(
        "Missing in the file: []. Unknown to the model: []. Of different shapes in file and "
        f"model: {differing}"
    )


def test_an_adapter_of_another_model_changes_nothing(rng, tmp_path):
    hyper, other = adapter(make_dense()), adapter(make_normalized())
    other.save_adapter(tmp_path / "small.npz")
    before = [to_numpy(v.value).copy() for v in hyper.variables]
    with pytest.raises(ValueError, match=r"adapter of another model. Missing.*Unknown.*gamma"):
        hyper.load_adapter(tmp_path / "small.npz")
    for v, old in zip(hyper.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(v.value), old)
    with pytest.raises(ValueError, match="must end in '.npz'"):
        hyper.save_adapter(tmp_path / "small.keras")
    # A failed write leaves the older file, and nothing beside it.
    hyper.save_adapter(tmp_path / "small.npz")
    content = (tmp_path / "small.npz").read_bytes()
    next(iter(hyper.generated_weights.values())).gate.assign(float("nan"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "savez", lambda file, **arrays: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hyper.save_adapter(tmp_path / "small.npz")
    assert (tmp_path / "small.npz").read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["small.npz"]


def test_an_adapter_of_texts_changes_nothing(tmp_path):
    hyper = adapter(make_dense())
    hyper.save_adapter(tmp_path / "small.npz")
    with np.load(tmp_path / "small.npz") as file:
        arrays = {name: file[name] + 1 for name in file.files}
    last = list(arrays)[-1]
    arrays[last] = arrays[last].astype(str)
    np.savez(tmp_path / "small.npz", **arrays)
    before = [to_numpy(v.value).copy() for v in hyper.variables]
    with pytest.raises(ValueError, match="not real numbers"):
        hyper.load_adapter(tmp_path / "small.npz")
    for v, old in zip(hyper.variables, before, strict=True):
        np.testing.assert_array_equal(to_numpy(v.value), old)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"composition": "add", "include": "*kernel"},
        {"state_per_task": True},
        {"condition": [TaskEmbedding(3, 4), 2]},
        {"output_regularization": 0.1},
        {"generator": {"a": LowRankGenerator(2), "*": ChunkedGenerator(5)}},
    ],
)
def test_checkpoints_of_tensorflow_have_every_variable(options, rng, tmp_path):
    import tensorflow as tf

    def make():
        given = {"condition": TaskEmbedding(3, 4), **options}
        config = {k: copy.deepcopy(v) for k, v in given.items()}
        return Hypernetwork(make_normalized(), **config)

    hyper, again = make(), make()
    for v in hyper.variables:
        v.assign(ops.cast(rng.uniform(1, 2, v.shape), v.dtype))
    path = tf.train.Checkpoint(hyper).save(tmp_path / "checkpoint")
    tf.train.Checkpoint(again).restore(path).assert_consumed()
    # Seeds are in no checkpoint, as those of `keras.layers.Dropout` are not.
    seeds = [i for i, v in enumerate(hyper.variables) if "seed" in v.name]
    for i, (a, b) in enumerate(zip(again.variables, hyper.variables, strict=True)):
        if i not in seeds:
            np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value), err_msg=a.path)


@pytest.mark.parametrize("how", [copy.deepcopy, clone, keras.models.clone_model])
def test_copies(how, rng):
    x = rng.normal(size=(4, 5)).astype("float32")
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3)
    hyper = Hypernetwork(make_dense(), generator=generator, condition=TaskEmbedding(3, 4))
    twin = how(hyper)
    assert twin.count_params() == hyper.count_params()
    assert not {id(v) for v in twin.variables} & {id(v) for v in hyper.variables}
    for a, b in zip(twin.variables, hyper.variables, strict=True):
        a.assign(b.value)
    np.testing.assert_allclose(
        to_numpy(twin(x, condition=1)), to_numpy(hyper(x, condition=1)), rtol=1e-6
    )


def test_a_subclassed_target_is_built_from_its_file_alone(rng, tmp_path):
    hyper = Hypernetwork(Residual(), generator=ChunkedGenerator(5), condition=2)
    x, c = rng.normal(size=(4, 5)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    hyper.compile("sgd", "mse", jit_compile=JIT)
    hyper.fit({"inputs": x, "condition": c}, np.zeros((4, 5)), verbose=0)  # Built by `fit`.
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    assert again.built
    np.testing.assert_allclose(
        to_numpy(again(x, condition=c)), to_numpy(hyper(x, condition=c)), rtol=1e-5, atol=1e-6
    )
    weights = tmp_path / "hyper.weights.h5"
    hyper.save_weights(weights)
    next(iter(hyper.generated_weights.values())).embedding.assign(
        next(iter(hyper.generated_weights.values())).embedding * 2
    )
    hyper.load_weights(weights)
    np.testing.assert_allclose(
        to_numpy(again(x, condition=c)), to_numpy(hyper(x, condition=c)), rtol=1e-5, atol=1e-6
    )


@keras.saving.register_keras_serializable("files")
class Unnamed(keras.Model):
    """Layers and a weight that Keras makes up names for."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.rest = layers.Dense(6), [layers.Dense(6), layers.Dense(6)]
        self.gain = self.add_weight(shape=(6,), initializer="ones")

    def call(self, inputs):
        x = self.first(inputs)
        for layer in self.rest:
            x = keras.ops.tanh(layer(x))
        return x * self.gain


def test_names_that_keras_makes_up_do_not_matter(rng, tmp_path):
    x = rng.normal(size=(4, 6)).astype("float32")
    generator = {"rest": ChunkedGenerator(8), "*": LowRankGenerator(2)}
    hyper = Hypernetwork(Unnamed(), generator=generator, include=["first/kernel", "rest/1"])
    hyper(x)
    assert list(hyper.generated_weights) == ["first/kernel", "rest/1/kernel", "rest/1/bias"]
    for v in hyper.trainable_variables:
        v.assign(v.numpy() + 0.1)
    hyper.save(tmp_path / "hyper.keras")
    hyper.save_adapter(tmp_path / "small.npz")
    layers.Dense(1), layers.Dense(1)  # Counters are others in the next process.
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(to_numpy(again(x)), to_numpy(hyper(x)), rtol=1e-5, atol=1e-6)
    other = Hypernetwork(Unnamed(), generator=generator, include=["first/kernel", "rest/1"])
    other(x)
    other.load_adapter(tmp_path / "small.npz")
    np.testing.assert_allclose(to_numpy(other(x)), to_numpy(hyper(x)), rtol=1e-5, atol=1e-6)


@keras.saving.register_keras_serializable("files")
class Namesakes(keras.Model):
    """Layers of one name, which Keras allows in a class of the user's."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layer_list = [layers.Dense(6, name="same") for _ in range(3)]

    def call(self, inputs):
        for layer in self.layer_list:
            inputs = keras.ops.tanh(layer(inputs))
        return inputs


def test_layers_of_one_name_keep_their_own_weights(rng, tmp_path):
    x = rng.normal(size=(4, 6)).astype("float32")
    target = Namesakes()
    target(x)
    named = named_weights(target)
    assert {id(weight.variable) for weight in named} == {id(v) for v in target.weights}
    assert len({weight.path for weight in named}) == len(target.weights) == 6
    hyper = Hypernetwork(target, generator=ChunkedGenerator(8), composition="add")
    np.testing.assert_allclose(to_numpy(hyper(x)), to_numpy(target(x)), rtol=1e-5, atol=1e-6)
    assert [weight.weight_shape for weight in hyper.generated_weights.values()] == 3 * [
        (6, 6),
        (6,),
    ]
    shake(hyper, rng)
    hyper.save_adapter(tmp_path / "small.npz")
    twin = Namesakes()
    twin(x)
    twin.set_weights(target.get_weights())
    other = Hypernetwork(twin, generator=ChunkedGenerator(8), composition="add")
    assert np.abs(to_numpy(other(x)) - to_numpy(hyper(x))).max() > 1e-3
    other.load_adapter(tmp_path / "small.npz")
    np.testing.assert_allclose(to_numpy(other(x)), to_numpy(hyper(x)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("generator", [None, ChunkedGenerator(5)])
def test_a_file_goes_on_with_the_optimizer(generator, rng, tmp_path):
    hyper = Hypernetwork(make_dense(), generator=generator, condition=TaskEmbedding(3, 8))
    data = {"inputs": rng.normal(size=(4, 5)), "condition": np.array([0, 1, 2, 1], "int32")}
    y = np.ones((4, 3))
    hyper.compile("adam", "mse")
    hyper.fit(data, y, verbose=0)
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    for a, b in zip(again.weights, hyper.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a.value), to_numpy(b.value))
    for model in (hyper, again):
        model.fit(data, y, verbose=0)
    for a, b in zip(again.weights, hyper.weights, strict=True):
        np.testing.assert_allclose(to_numpy(a.value), to_numpy(b.value), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras cannot export it")
@pytest.mark.parametrize("make", [make_dense, make_normalized, make_lstm])
@pytest.mark.parametrize("how", ["static", "at", "one", "per sample"])
def test_a_saved_model_serves_any_batch_size(make, how, rng, tmp_path):
    tf = pytest.importorskip("tensorflow")
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3)
    condition = {"static": None, "at": TaskEmbedding(3, 2)}.get(how, 2)
    hyper = Hypernetwork(make(), generator=generator, condition=condition)
    x = rng.normal(size=(4, *hyper.target.input_shape[1:])).astype("float32")
    model, data = hyper, [x]
    if how == "at":
        model = hyper.at(1)
        # Keras exports it without a call.
        model.export(str(tmp_path / "at_once"), verbose=False)
    elif how == "one":
        inputs = keras.Input(x.shape[1:])
        model = keras.Model(inputs, hyper(inputs, condition=np.ones(2, "float32")))
    elif how == "per sample":
        data = [x, rng.normal(size=(4, 2)).astype("float32")]
    expected = to_numpy(model(*data))
    model.export(str(tmp_path / "saved"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(saved.serve(*data).numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        saved.serve(*[d[:3] for d in data]).numpy(), expected[:3], rtol=1e-4, atol=1e-5
    )


def test_hyper_layers_can_be_targets(rng):
    """The generator of a generator: a target whose own weights are generated."""
    from keras_hyper import HyperDense

    target = keras.Sequential([keras.Input((8,)), HyperDense(8), layers.Dense(2)])
    hyper = Hypernetwork(target, generator=ChunkedGenerator(6), condition=2)
    x, c = rng.normal(size=(4, 8)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    assert any("embedding" in path for path in list(hyper.generated_weights))
    one = to_numpy(hyper(x[:1], condition=c[0]))
    np.testing.assert_allclose(to_numpy(hyper(x, condition=c))[:1], one, rtol=1e-4, atol=1e-5)
    alone = Hypernetwork(target, generator=ChunkedGenerator(6))
    plain = bake(alone)
    assert [type(layer) for layer in plain.layers] == [layers.Dense, layers.Dense]
    np.testing.assert_allclose(to_numpy(plain(x)), to_numpy(alone(x)), rtol=1e-5, atol=1e-6)
