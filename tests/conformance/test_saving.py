"""Properties of saving: files, copies and exports give the same outputs again."""

import copy
import pickle

import keras
import numpy as np
import pytest

import keras_hyper
from conformance.descriptors import CLASSES, CONDITIONS, FULL, LAYERS, MODELS, over
from helpers import compiled, to_numpy


def through_keras_file(model, directory):
    model.save(directory / "model.keras")
    return keras.models.load_model(directory / "model.keras")


def through_weights_file(model, directory):
    model.save_weights(directory / "model.weights.h5")
    copy = keras.models.clone_model(model)
    copy.load_weights(directory / "model.weights.h5")
    return copy


def through_json(model, directory):
    copy = keras.models.model_from_json(model.to_json())
    copy.set_weights(model.get_weights())
    return copy


def through_hdf5_file(model, directory):
    model.save(directory / "model.h5")
    return keras.models.load_model(directory / "model.h5")


def through_pickle(model, directory):
    return pickle.loads(pickle.dumps(model))


def through_deepcopy(model, directory):
    return copy.deepcopy(model)


def through_tensorflow_checkpoint(model, directory):
    import tensorflow as tf

    path = tf.train.Checkpoint(model).save(directory / "checkpoint")
    copy = keras.models.clone_model(model)
    tf.train.Checkpoint(copy).restore(path).assert_consumed()
    return copy


WAYS = [through_weights_file, through_json, through_hdf5_file, through_pickle, through_deepcopy]


@over([*LAYERS, *CONDITIONS, *MODELS])
def test_outputs_survive_a_keras_file(row, tmp_path):
    check_outputs_survive(row, through_keras_file, tmp_path)


@over([*CLASSES, *CONDITIONS, *MODELS])
@pytest.mark.parametrize("way", WAYS)
def test_outputs_survive(row, way, tmp_path):
    check_outputs_survive(row, way, tmp_path)


@pytest.mark.tensorflow
@over([*LAYERS, *CONDITIONS])
def test_outputs_survive_a_checkpoint_of_tensorflow(row, tmp_path):
    check_outputs_survive(row, through_tensorflow_checkpoint, tmp_path)


def check_outputs_survive(row, way, tmp_path):
    model = row.model()
    data = row.data(3)
    revived = way(model, tmp_path)
    assert revived is not model
    assert revived.count_params() == model.count_params()
    outputs = [to_numpy(compiled(m, m)(data)) for m in (revived, model)]
    np.testing.assert_array_equal(*outputs)


@over(CLASSES)
def test_a_reloaded_model_trains_on(row, tmp_path):
    model = row.model()
    # Compiled only where every operation would otherwise be compiled for itself.
    jax = keras.backend.backend() == "jax"
    model.compile("adam", "mse", jit_compile=jax, run_eagerly=not jax)
    data = row.data(4)
    targets = np.zeros((4, *model.output.shape[1:]), "float32")
    model.fit(data, targets, epochs=1, verbose=0)
    revived = through_keras_file(model, tmp_path)
    losses = [
        m.fit(data, targets, epochs=2, verbose=0, shuffle=False).history["loss"]
        for m in (model, revived)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@over(CLASSES)
def test_clones_are_new_and_alike(row):
    model = row.model()
    for clone in (keras.models.clone_model(model), keras_hyper.clone(model)):
        assert clone.count_params() == model.count_params()
        ours = {id(v) for v in model.variables}
        assert not any(id(v) in ours for v in clone.variables)
        outputs = [compiled(m, m)(row.data(2)) for m in (clone, model)]
        assert outputs[0].shape == outputs[1].shape


@over([row for row in LAYERS if not row.condition and row.argument == "inputs"])
def test_bake_gives_the_stock_layer_with_equal_outputs(row):
    model = row.model()
    plain = keras_hyper.bake(model)
    layer = plain.layers[-1]
    assert type(layer) is model.layers[-1].stock
    assert layer.name == model.layers[-1].name
    outputs = [to_numpy(compiled(m, m)(row.data(3))) for m in (plain, model)]
    # Factors are multiplied with the inputs one after the other: the sums are rounded elsewhere.
    # XLA multiplies the factors of a normalization in another order than eager code, which gave
    # the baked weights: a few roundings of 6e-8.
    generator = model.layers[-1].generator
    differs = generator is not None and (generator.factors or generator.normalization)
    rounding = 1e-6 if differs else 0
    np.testing.assert_allclose(*outputs, rtol=rounding, atol=rounding)


@pytest.mark.export
@over(FULL)
def test_export_has_a_free_batch(row, tmp_path):
    import tensorflow as tf

    model = row.model()
    model.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    for batch in (1, 7):
        data = row.data(batch)
        outputs = to_numpy(served.serve(data))
        np.testing.assert_allclose(outputs, to_numpy(model(data)), rtol=1e-4, atol=1e-5)
