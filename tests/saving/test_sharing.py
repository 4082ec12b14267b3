"""One generator in several layers stays one, wherever the model goes."""

import copy
import pickle

import keras
import numpy as np
import pytest

import keras_hyper
from helpers import JIT, to_numpy
from keras_hyper import HyperConv2D, HyperDense, LinearGenerator, MLPGenerator, TiledKernelGenerator


def network(parents=3, make=None):
    """A model in which `parents` layers share one generator."""
    generator = (make or (lambda: TiledKernelGenerator((4, 4), embedding_dim=3)))()
    layers = [HyperDense(6, generator=generator, name=f"d{i}") for i in range(parents)]
    return keras.Sequential([keras.Input((6,)), *layers])


def generators(model):
    return [layer.generator for layer in model.layers]


X = np.linspace(-1, 1, 12).reshape(2, 6).astype("float32")


def through_file(model, directory):
    model.save(directory / "m.keras")
    return keras.models.load_model(directory / "m.keras")


def through_hdf5(model, directory):
    model.save(directory / "m.h5")
    return keras.models.load_model(directory / "m.h5")


@pytest.mark.parametrize("parents", [2, 3])
@pytest.mark.parametrize(
    "make",
    [None, lambda: LinearGenerator(3), lambda: MLPGenerator((5,), dropout=0.1)],
    ids=["tiled", "linear", "mlp"],
)
@pytest.mark.parametrize(
    "way",
    [
        through_file,
        lambda model, directory: pickle.loads(pickle.dumps(model)),
        lambda model, directory: copy.deepcopy(model),
    ],
    ids=["keras-file", "pickle", "deepcopy"],
)
def test_it_stays_shared(way, make, parents, tmp_path):
    model = network(parents, make)
    revived = way(model, tmp_path)
    first = generators(revived)[0]
    assert all(g is first for g in generators(revived))
    assert first is not generators(model)[0]
    assert revived.count_params() == model.count_params()
    np.testing.assert_array_equal(to_numpy(revived(X)), to_numpy(model(X)))


@pytest.mark.parametrize("parents", [2, 3])
def test_weights_files_hold_it_once(parents, tmp_path):
    import h5py

    model, other = network(parents), network(parents)
    model.save_weights(tmp_path / "m.weights.h5")
    stored = []
    with h5py.File(tmp_path / "m.weights.h5") as file:
        file.visititems(lambda _, item: stored.append(getattr(item, "size", 0)))
    assert sum(stored) == model.count_params()
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(to_numpy(other(X)), to_numpy(model(X)))


@pytest.mark.parametrize(
    "way",
    [
        keras.models.clone_model,
        lambda model: type(model).from_config(model.get_config()),
        lambda model: keras.models.model_from_json(model.to_json()),
    ],
    ids=["clone_model", "from_config", "json"],
)
def test_it_stays_shared_in_configurations(way, tmp_path):
    """Keras opens no sharing scope there."""
    model = network()
    config = model.get_config()
    first, second = way(model), way(model)
    for copy_ in (first, second):
        assert len({id(g) for g in generators(copy_)}) == 1
        assert copy_.count_params() == model.count_params()
    assert len({id(generators(m)[0]) for m in (model, first, second)}) == 3
    # Of a copy, too; and weights go from one to the other.
    third = way(first)
    assert generators(third)[0] not in [generators(m)[0] for m in (model, first, second)]
    assert third.count_params() == model.count_params()
    model.save_weights(tmp_path / "m.weights.h5")
    third.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(to_numpy(third(X)), to_numpy(model(X)))
    assert model.get_config() == config


def test_copies_of_single_layers_share_nothing():
    layers = network(2).layers
    again = [type(layer).from_config(layer.get_config()) for layer in (*layers, *layers)]
    assert len({id(layer.generator) for layer in again}) == 4


@pytest.mark.parametrize("way", [keras.models.clone_model, keras_hyper.clone])
def test_copies_of_two_models_that_share_stay_apart(way):
    generator = TiledKernelGenerator((4, 4), embedding_dim=3)
    models = [
        keras.Sequential([keras.Input((6,)), HyperDense(n, generator=generator)]) for n in (6, 4)
    ]
    copies = [way(model) for model in models]
    assert generators(copies[0])[0] is not generators(copies[1])[0]


def test_a_copy_of_one_layer_stays_out_of_the_next_model():
    model = network(3)
    alone = HyperDense.from_config(model.layers[1].get_config())
    again = keras.models.model_from_json(model.to_json())
    assert again.count_params() == model.count_params()
    assert alone.generator not in generators(again)


def test_a_model_that_was_loaded_is_not_kept_alive():
    import gc
    import weakref

    model = type(network(2)).from_config(network(2).get_config())
    reference = weakref.ref(model)
    del model
    gc.collect()
    gc.collect()
    assert reference() is None
    gc.collect()
    # Nothing is left behind.
    assert not [f for f in gc.callbacks if "keras_hyper" in getattr(f, "__module__", "")]


def test_copies_that_meet_again_stay_apart():
    """Layers of two copies of one model in a third model."""
    model = network(2)
    first, second = keras.models.clone_model(model), keras.models.clone_model(model)
    second.name = "second"
    mixed = keras.Sequential([keras.Input((6,)), first, second])
    again = keras.models.model_from_json(mixed.to_json())
    ours = [{id(g) for g in generators(part)} for part in again.layers]
    assert [len(ids) for ids in ours] == [1, 1]
    assert ours[0] != ours[1]


def test_a_generator_of_one_layer_leaves_no_mark():
    layer = network(1).layers[0]
    assert "shared" not in layer.get_config()["generator"]
    revived = type(layer).from_config(layer.get_config())
    assert revived.get_config() == layer.get_config()


def test_threads_do_not_mix_their_copies():
    from concurrent.futures import ThreadPoolExecutor

    model = network(3)
    text = model.to_json()
    with ThreadPoolExecutor(4) as pool:
        copies = list(pool.map(lambda _: keras.models.model_from_json(text), range(8)))
    found = [{id(g) for g in generators(c)} for c in copies]
    assert all(len(ids) == 1 for ids in found)
    assert len(set.union(*found)) == 8


@pytest.mark.parametrize(
    "kind", ["layers", "added", "hypernetwork", "adapter", "two hypernetworks"]
)
def test_whole_models_in_hdf5(kind, tmp_path):
    if kind == "layers":
        model = network()
    elif kind == "added":
        generator = LinearGenerator(3)
        layers = [HyperDense(6, generator=generator, composition="multiply") for _ in range(2)]
        model = keras.Sequential([keras.Input((6,)), *layers])
    elif kind == "two hypernetworks":
        tasks, inputs = keras_hyper.TaskEmbedding(3, 4), keras.Input((6,))
        generator = keras_hyper.ChunkedGenerator(5)
        x = inputs
        for _ in range(2):
            target = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
            hyper = keras_hyper.Hypernetwork(target, generator, condition=tasks)
            x = hyper.at(1)(x)
        model = keras.Model(inputs, x)
    else:
        target = keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(6), keras.layers.BatchNormalization()]
        )
        composition = {"hypernetwork": "replace", "adapter": "add"}[kind]
        generator = keras_hyper.ChunkedGenerator(5)
        model = keras_hyper.Hypernetwork(target, generator, composition=composition)
    for v in model.trainable_variables:
        v.assign(v + 0.1)
    model.save(tmp_path / "m.h5")
    again = keras.models.load_model(tmp_path / "m.h5")
    assert again.count_params() == model.count_params()
    np.testing.assert_allclose(to_numpy(again(X)), to_numpy(model(X)), rtol=1e-6)


def test_clone_keeps_sharing_and_draws_new_weights():
    model = network()
    clone = keras_hyper.clone(model)
    assert len({id(g) for g in generators(clone)}) == 1
    assert generators(clone)[0] is not generators(model)[0]
    assert clone.count_params() == model.count_params()
    assert np.abs(to_numpy(clone(X)) - to_numpy(model(X))).max() > 1e-3


def test_two_clones_are_two():
    model = network()
    first, second = keras_hyper.clone(model), keras_hyper.clone(model)
    assert generators(first)[0] is not generators(second)[0]


def test_a_trained_step_moves_all_parents():
    model = network()
    before = [to_numpy(layer.generate()["kernel"]) for layer in model.layers]
    head = generators(model)[0].head.kernel
    head.assign(head.numpy() * 2)
    for layer, old in zip(model.layers, before, strict=True):
        np.testing.assert_allclose(to_numpy(layer.generate()["kernel"]), 2 * old, rtol=1e-5)


@pytest.mark.parametrize("where", ["generator", "one parent"])
def test_trainable_false_freezes_it_for_all(where):
    model = network()
    (model.layers[1] if where == "one parent" else generators(model)[0]).trainable = False
    ours = {id(v) for v in generators(model)[0].variables}
    assert not any(id(v) in ours for v in model.trainable_variables)
    # The other layers' own embeddings and biases still train.
    assert len(model.trainable_variables) == (6 if where == "generator" else 4)
    model.compile("sgd", "mse", jit_compile=JIT)
    before = generators(model)[0].get_weights()
    model.fit(X, X, epochs=2, verbose=0)
    for old, new in zip(before, generators(model)[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("where", ["generator", "layer", "constructor"])
@pytest.mark.parametrize(
    "way",
    [
        through_file,
        lambda model, directory: pickle.loads(pickle.dumps(model)),
        lambda model, directory: keras.models.clone_model(model),
        lambda model, directory: keras_hyper.clone(model),
    ],
    ids=["keras-file", "pickle", "clone_model", "clone"],
)
def test_what_is_frozen_stays_frozen(way, where, tmp_path):
    generator = TiledKernelGenerator((4, 4), 3, trainable=where != "constructor")
    layers = [HyperDense(6, generator=generator) for _ in range(2)]
    model = keras.Sequential([keras.Input((6,)), *layers])
    if where == "generator":
        generator.trainable = False
    if where == "layer":
        layers[0].trainable = False
    frozen = {"generator": 4, "constructor": 4, "layer": 2}[where]
    assert len(model.trainable_variables) == frozen
    other = way(model, tmp_path)
    assert len(other.trainable_variables) == frozen
    assert not any(v.trainable for v in other.layers[0].generator.variables)


def conditioned_by_two_kinds(generator):
    target = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    return keras_hyper.Hypernetwork(target, {"*kernel": generator}, include="*kernel")


def recurrent(cls):
    return keras.Sequential([keras.Input((6,)), keras.layers.Reshape((2, 3)), cls(4)])


@pytest.mark.parametrize("way", [through_file, through_hdf5], ids=["keras-file", "hdf5"])
@pytest.mark.parametrize(
    ("make", "part"),
    [
        (network, lambda model: model.layers[0].kernel_weight),
        (
            lambda: keras.Sequential([keras.Input((6,)), HyperDense(64)]),
            lambda model: model.layers[0].kernel_weight.generator,
        ),
        (lambda: recurrent(keras_hyper.HyperLSTM), lambda model: model.layers[-1].cell),
        (
            lambda: recurrent(keras_hyper.LayerNormLSTM),
            lambda model: model.layers[-1].cell.gate_norm,
        ),
        (
            lambda: conditioned_by_two_kinds(LinearGenerator(3)),
            lambda model: next(iter(model.generated_weights.values())),
        ),
        (
            lambda: conditioned_by_two_kinds(MLPGenerator((4,))),
            lambda model: next(iter(model.generated_weights.values())).generator.hidden[0],
        ),
        (
            lambda: keras.Sequential([keras.Input((6,)), HyperDense(6, generate_bias=True)]),
            lambda model: model.layers[0].bias_weight,
        ),
    ],
    ids=[
        "kernel",
        "own generator",
        "cell",
        "norm",
        "generated weight",
        "hidden layer of a copy",
        "bias",
    ],
)
def test_a_frozen_part_of_a_layer_stays_frozen(make, part, way, tmp_path):
    model = make()
    model(X)
    part(model).trainable = False
    again = way(model, tmp_path)
    assert not part(again).trainable
    assert [v.trainable for v in again.weights] == [v.trainable for v in model.weights]
    assert len(model.trainable_weights) < len(model.weights)


def test_a_layer_constructed_frozen_is_frozen():
    layer = HyperDense(60, trainable=False, generate_bias=True)
    model = keras.Sequential([keras.Input((60,)), layer])
    assert not model.trainable_variables
    layer.trainable = True
    assert len(model.trainable_variables) == 6


def task_hypernetwork(tasks):
    target = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    return keras_hyper.Hypernetwork(target, keras_hyper.ChunkedGenerator(5), condition=tasks)


def tasks_in_a_graph(first):
    """A `TaskEmbedding` that a hypernetwork holds, and a functional model calls."""
    tasks, x, ids = (
        keras_hyper.TaskEmbedding(3, 4),
        keras.Input((6,)),
        keras.Input((), dtype="int32"),
    )
    hyper, layer = task_hypernetwork(tasks), HyperDense(6)
    if first:
        return keras.Model([x, ids], hyper(layer(x, condition=tasks(ids)), condition=ids))
    return keras.Model([x, ids], layer(hyper(x, condition=ids), condition=tasks(ids)))


def at_and_whole(nested):
    """A hypernetwork that a functional model calls, at a task as well."""
    hyper = task_hypernetwork(keras_hyper.TaskEmbedding(3, 4))
    x, ids = keras.Input((6,)), keras.Input((), dtype="int32")
    if not nested:
        return keras.Model([x, ids], hyper(hyper.at(0)(x), condition=ids))
    inner = keras.Model([x, ids], hyper(x, condition=ids))
    y, tasks = keras.Input((6,)), keras.Input((), dtype="int32")
    return keras.Model([y, tasks], inner([hyper.at(1)(y), tasks]))


def three_levels():
    generator = TiledKernelGenerator((3, 3), 2)
    x, ids = keras.Input((6,)), keras.Input((), dtype="int32")
    model = keras.Sequential([keras.Input((6,)), HyperDense(6, generator=generator)])
    for _ in range(2):
        model = keras.Sequential([keras.Input((6,)), model, HyperDense(6, generator=generator)])
    context = keras_hyper.TaskEmbedding(3, 4)(ids)
    conditioned = HyperDense(6, generator=generator)(model(x), condition=context)
    return keras.Model([x, ids], HyperDense(6, generator=generator)(conditioned))


@pytest.mark.parametrize(
    "way",
    [
        keras.models.clone_model,
        lambda model: keras.models.clone_model(keras.models.clone_model(model)),
        lambda model: keras.models.clone_model(
            model, clone_function=lambda layer: type(layer).from_config(layer.get_config())
        ),
        lambda model: keras.models.clone_model(
            model, input_tensors=[keras.Input(x.shape[1:], dtype=x.dtype) for x in model.inputs]
        ),
        lambda model: keras.models.model_from_json(model.to_json()),
        lambda model: pickle.loads(pickle.dumps(model)),
        through_file,
        through_hdf5,
    ],
    ids=["clone", "twice", "function", "inputs", "json", "pickle", "keras-file", "hdf5"],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: tasks_in_a_graph(True),
        lambda: tasks_in_a_graph(False),
        lambda: at_and_whole(False),
        lambda: at_and_whole(True),
        three_levels,
    ],
    ids=["tasks first", "tasks last", "at and whole", "at and nested", "three levels"],
)
def test_layers_of_a_graph_stay_shared_with_those_inside(make, way, tmp_path):
    model, data = make(), [X, np.array([2, 1])]
    for v in model.trainable_variables:
        v.assign(v + 0.1)
    again = way(model, tmp_path) if way in (through_file, through_hdf5) else way(model)
    assert again.count_params() == model.count_params()
    assert not {id(v) for v in again.variables} & {id(v) for v in model.variables}
    again.set_weights(model.get_weights())
    np.testing.assert_allclose(to_numpy(again(data)), to_numpy(model(data)), rtol=1e-5)


def test_a_hypernetwork_over_hyper_layers_shares_their_generator():
    generator = keras_hyper.ChunkedGenerator(6)
    target = [keras.Input((6,)), HyperDense(6, generator=generator), keras.layers.Dense(6)]
    model = keras_hyper.Hypernetwork(keras.Sequential(target), generator, include="dense*")
    again = type(model).from_config(model.get_config())
    assert again.count_params() == model.count_params()
    again = type(model).from_config(again.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(to_numpy(again(X)), to_numpy(model(X)))


def test_a_condition_of_two_hypernetworks_stays_shared_in_configurations():
    def over(condition):
        target = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
        return keras_hyper.Hypernetwork(target, LinearGenerator(3), condition, include="*kernel")

    first = over(keras_hyper.TaskEmbedding(3, 2))
    second = over(first.condition)
    x, ids = keras.Input((6,)), keras.Input((), dtype="int32")
    model = keras.Model([x, ids], second(first(x, condition=ids), condition=ids))
    again = keras.models.model_from_json(model.to_json())
    one, other = (layer for layer in again.layers if isinstance(layer, keras_hyper.Hypernetwork))
    assert one.condition is other.condition
    assert again.count_params() == model.count_params()


def test_in_and_between_models():
    """One generator for a convolution and, in another model, for a second one."""
    generator = TiledKernelGenerator((3, 3, 2, 2), embedding_dim=2)
    first = keras.Sequential([keras.Input((5, 5, 2)), HyperConv2D(4, 3, generator=generator)])
    second = keras.Sequential([keras.Input((6, 6, 4)), HyperConv2D(2, 3, generator=generator)])
    own = [4 * 1 * 2 // 2 + 4, 4 * 1 * 2 // 2 + 2]
    assert [m.count_params() - generator.count_params() for m in (first, second)] == own


class Holder(keras.Model):
    """A subclassed model that owns the generator and keeps its layers in a list."""

    def __init__(self, depth, **kwargs):
        super().__init__(**kwargs)
        self.depth = depth
        self.shared = TiledKernelGenerator((4, 4), embedding_dim=3)
        self.blocks = [HyperDense(6, generator=self.shared) for _ in range(depth)]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        return inputs

    def get_config(self):
        return {**super().get_config(), "depth": self.depth}


def test_subclassed_models(tmp_path):
    keras.saving.register_keras_serializable("tests")(Holder)
    model = Holder(3)
    expected = to_numpy(model(X))
    revived = through_file(model, tmp_path)
    np.testing.assert_array_equal(to_numpy(revived(X)), expected)
    assert all(block.generator is revived.shared for block in revived.blocks)
    clone = keras_hyper.clone(model)
    assert clone.built
    assert clone.count_params() == model.count_params()


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A layer of a user's own that takes a generator as an argument."""

    def __init__(self, generator, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras_hyper.saving.deserialize_shared(generator, self)
        self.inner = HyperDense(6, generator=self.generator)

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        generator = keras_hyper.saving.serialize_shared(self.generator, self)
        return {**super().get_config(), "generator": generator}


def test_a_layer_that_takes_a_generator_keeps_it_shared(tmp_path):
    generator = TiledKernelGenerator((4, 4), 3)
    model = keras.Sequential([keras.Input((6,)), Block(generator), Block(generator)])
    others = [through_file(model, tmp_path), keras_hyper.clone(model), copy.deepcopy(model)]
    for other in (*others, keras.models.model_from_json(model.to_json())):
        assert other.layers[0].generator is other.layers[1].generator
        assert other.count_params() == model.count_params()
    plain = keras_hyper.bake(model)
    assert plain.layers[0].generator is None
    np.testing.assert_array_equal(to_numpy(plain(X)), to_numpy(model(X)))


def test_checkpoints(tmp_path):
    """ModelCheckpoint, and BackupAndRestore after an interruption."""

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def compiled(model):
        model.compile(keras.optimizers.Adam(0.01), "mse", jit_compile=JIT)
        return model

    model = compiled(network())
    start = model.get_weights()
    uninterrupted = model.fit(X, X, epochs=4, verbose=0).history["loss"]
    model.set_weights(start)
    model = compiled(model)
    backup = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            X,
            X,
            epochs=4,
            verbose=0,
            callbacks=[keras.callbacks.BackupAndRestore(backup), Interrupt()],
        )
    again = compiled(network())
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="loss")
    callbacks = [keras.callbacks.BackupAndRestore(backup), checkpoint]
    losses = again.fit(X, X, epochs=4, verbose=0, callbacks=callbacks).history["loss"]
    # The last epoch's loss is that of the uninterrupted run.
    assert losses[-1] == pytest.approx(uninterrupted[-1], rel=1e-4)
    best = keras.models.load_model(tmp_path / "best.keras")
    assert len({id(g) for g in generators(best)}) == 1
    np.testing.assert_allclose(to_numpy(best(X)), to_numpy(again(X)), rtol=1e-6)
