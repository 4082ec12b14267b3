"""What TensorBoard is told, read back from its files."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperConv2D,
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    TaskEmbedding,
    TiledKernelGenerator,
    record_weights,
)
from keras_hyper.callbacks import HyperTensorBoard
from keras_hyper.inspect.observing import observe


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def scalar(found, tag):
    return {event.step: event.value for event in found.Scalars(tag)}


def fit(model, x, y, board, epochs=1):
    """Trains with a rate of zero, so that the weights at the end are those that were written."""
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, y, epochs=epochs, batch_size=4, verbose=0, callbacks=[board])


def convolutions():
    kernels = TiledKernelGenerator((3, 3, 2, 2), embedding_dim=4, name="kernels")
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            HyperConv2D(4, 3, generator=kernels, name="first"),
            HyperConv2D(2, 3, generator=kernels, name="second"),
            layers.Flatten(),
            HyperDense(3, name="dense"),
        ]
    )


def test_static_weights_need_no_batch(rng, tmp_path):
    model, x = convolutions(), rng.normal(size=(8, 6, 6, 2)).astype("float32")
    fit(model, x, np.zeros((8, 3)), HyperTensorBoard(tmp_path, every=2), epochs=4)
    found = read(tmp_path)
    for name in ("first", "second", "dense"):
        weight = to_numpy(model.get_layer(name).generate()["kernel"])
        tag = f"weights/{name}/kernel"
        norms = scalar(found, f"{tag}/norm")
        assert list(norms) == [0, 2]
        np.testing.assert_allclose(norms[2], np.linalg.norm(weight), rtol=1e-5)
        histogram = found.Histograms(tag)[0].histogram_value
        assert histogram.num == weight.size
        np.testing.assert_allclose([histogram.min, histogram.max], [weight.min(), weight.max()])
    assert [(i.width, i.height) for i in found.Images("kernels/first/kernel")] == 2 * [(15, 7)]
    generator = model.get_layer("first").generator
    norm = np.sqrt(sum(np.square(to_numpy(v)).sum() for v in generator.trainable_variables))
    np.testing.assert_allclose(scalar(found, "generators/kernels/norm")[0], norm, rtol=1e-5)
    assert not [tag for tag in found.Tags()["scalars"] if "gradient" in tag]


def test_the_norm_of_a_generator_is_not_that_of_its_random_seed(tmp_path):
    generator = ChunkedGenerator(4, dropout=0.5, seed=10**6, name="chunks")
    model = keras.Sequential([keras.Input((3,)), HyperDense(4, generator=generator)])
    fit(model, np.zeros((4, 3)), np.zeros((4, 4)), HyperTensorBoard(tmp_path))
    norm = np.sqrt(sum(np.square(to_numpy(v)).sum() for v in generator.trainable_variables))
    np.testing.assert_allclose(scalar(read(tmp_path), "generators/chunks/norm")[0], norm, rtol=1e-5)


def test_norms_of_gradients_are_those_of_a_step(rng, tmp_path):
    model, x = convolutions(), rng.normal(size=(8, 6, 6, 2)).astype("float32")
    y = rng.normal(size=(8, 3)).astype("float32")
    fit(model, x, y, HyperTensorBoard(tmp_path, inputs=x, targets=y))
    norm = scalar(read(tmp_path), "generators/kernels/gradient_norm")[0]
    variables = model.get_layer("first").generator.trainable_variables
    before = [to_numpy(v) for v in variables]
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(x, y, batch_size=8, verbose=0)
    steps = [a - to_numpy(v) for a, v in zip(before, variables, strict=True)]
    np.testing.assert_allclose(norm, np.sqrt(sum(np.square(s).sum() for s in steps)), rtol=1e-3)


def test_recurrent_layers_are_told_of_along_sequences(rng, tmp_path):
    x = rng.normal(size=(4, 5, 3)).astype("float32")
    model = keras.Sequential([keras.Input((None, 3)), layers.Dense(3), HyperLSTM(6, hyper_units=4)])
    layer = model.layers[-1]
    layer.cell.bias.assign(20 * np.ones(24))  # All open: tanh(c) is soon full.
    fit(model, x, np.zeros((4, 6)), HyperTensorBoard(tmp_path, inputs=x))
    found, record = read(tmp_path), record_weights(layer, model.layers[0](x))
    for name in ("recurrent_kernel", "kernel"):
        tag, scales = f"recurrent/hyper_lstm/scales/{name}", to_numpy(record.scales[name])
        histogram = found.Histograms(tag)[0].histogram_value
        np.testing.assert_allclose(
            [histogram.num, histogram.max], [scales.size, scales.max()], rtol=1e-4
        )
        change = scalar(found, f"recurrent/hyper_lstm/changes/{name}")[0]
        expected = to_numpy(record.changes[name])[:, 1:].mean()
        np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-6)
    saturated = (np.abs(to_numpy(record.saturation)) > 0.99).mean()
    assert 0.1 < saturated < 1
    np.testing.assert_allclose(scalar(found, "recurrent/hyper_lstm/saturated")[0], saturated)
    assert scalar(found, "generators/hyper_lstm/norm")[0] > 0


@pytest.mark.parametrize("what", ["mask", "states"])
def test_recurrent_layers_are_recorded_as_they_are_called(what, rng):
    """With the mask, or the initial states, that the model gives them."""
    x, h = (rng.normal(size=shape).astype("float32") for shape in ((3, 5, 2), (3, 6)))
    x[0, 3:] = 0
    layer = HyperLSTM(6, hyper_units=4, embedding_dim=2, return_sequences=True)
    inputs, state = keras.Input((None, 2)), keras.Input((6,))
    if what == "mask":
        model, data = keras.Model(inputs, layer(layers.Masking()(inputs))), x
        expected = record_weights(layer, x, mask=np.any(x != 0, axis=-1))
    else:
        states = [state, state, state[:, :4], state[:, :4]]
        model, data = keras.Model([inputs, state], layer(inputs, initial_state=states)), [x, h]
        expected = record_weights(layer, x, [h, h, h[:, :4], h[:, :4]])
    record = observe(model, data).records[layer.name]
    plain = record_weights(layer, x)
    for a, b, c in zip(record.states, expected.states, plain.states, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)
        assert np.abs(to_numpy(a) - to_numpy(c)).max() > 1e-3
    assert "inner_loop" not in vars(layer)


def by_task():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(3, name="dense")])
    tasks = TaskEmbedding(3, 2, name="tasks")
    return Hypernetwork(target, ChunkedGenerator(4, name="chunks"), condition=tasks)


def points(folder, name):
    path = folder / "00000" / name
    return np.loadtxt(path / "tensors.tsv"), (path / "metadata.tsv").read_text().split()


def test_a_hypernetwork_and_its_tasks(rng, tmp_path):
    model = by_task()
    x = {"inputs": rng.normal(size=(6, 5)).astype("float32"), "condition": np.arange(6) % 3}
    y = rng.normal(size=(6, 3)).astype("float32")
    board = HyperTensorBoard(tmp_path, inputs=x, targets=y, labels={"tasks": ["a", "b", "c"]})
    fit(model, x, y, board)
    found = read(tmp_path)
    weights = to_numpy(model.generate(x["condition"])["dense/kernel"])
    norm = scalar(found, "weights/dense/kernel/norm")[0]
    np.testing.assert_allclose(norm, np.linalg.norm(weights), rtol=1e-5)
    assert len([tag for tag in found.Tags()["images"] if tag.startswith("kernels/dense/k")]) == 4
    assert scalar(found, "generators/chunks/gradient_norm")[0] > 0
    rows, labels = points(tmp_path, "tasks")
    assert labels == ["a", "b", "c"]
    np.testing.assert_allclose(rows, to_numpy(model.condition.task_embedding.embeddings), rtol=1e-5)
    rows, labels = points(tmp_path, "chunks")
    assert labels[:2] == ["dense/kernel/0", "dense/kernel/1"]
    assert "embedding_name" not in labels
    assert 'tensor_name: "tasks:00000"' in (tmp_path / "projector_config.pbtxt").read_text()


def test_conditioned_layers_and_generators_of_one_name(rng, tmp_path):
    x, c = keras.Input((4,)), keras.Input((3,))
    y = HyperDense(6, generator=ChunkedGenerator(5, name="own"), name="static")(x)
    y = HyperDense(2, generator=ChunkedGenerator(5, name="own"), name="conditioned")(y, condition=c)
    model = keras.Model([x, c], y)
    data = [rng.normal(size=(4, n)).astype("float32") for n in (4, 3)]
    fit(model, data, np.zeros((4, 2)), HyperTensorBoard(tmp_path, inputs=data))
    tags = read(tmp_path).Tags()
    assert {"generators/static/own/norm", "generators/conditioned/own/norm"} <= set(tags["scalars"])
    assert {"kernels/static/kernel", "kernels/conditioned/kernel/3"} <= set(tags["images"])


def test_training_is_as_without_it(rng, tmp_path):
    x = {"inputs": rng.normal(size=(6, 5)).astype("float32"), "condition": np.arange(6) % 3}
    y = rng.normal(size=(6, 3)).astype("float32")
    weights = []
    for board in ([], [HyperTensorBoard(tmp_path, inputs=x, targets=y)]):
        keras.utils.set_random_seed(3)
        model = by_task()
        model.compile("adam", "mse")
        model.fit(x, y, epochs=3, batch_size=2, verbose=0, callbacks=board)
        weights.append([to_numpy(w) for w in model.weights])
    for plain, watched in zip(*weights, strict=True):
        np.testing.assert_allclose(plain, watched, rtol=1e-6)


def test_refused(tmp_path):
    with pytest.raises(ValueError, match="`targets` need the `inputs`"):
        HyperTensorBoard(tmp_path, targets=np.ones(3))
    with pytest.raises(ValueError, match="`every` must be"):
        HyperTensorBoard(tmp_path, every=0)
    x = {"inputs": np.ones((3, 5), "float32"), "condition": np.arange(3)}
    for labels in ({"tasks": ["a"]}, {"others": ["a", "b", "c"]}):
        with pytest.raises(ValueError, match=r"numbers of tasks: \{'tasks': 3\}"):
            fit(by_task(), x, np.ones((3, 3)), HyperTensorBoard(tmp_path, labels=labels))
