"""Several samples for each condition: inputs and outputs `(conditions, samples, ...)`."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT, to_numpy
from hypernetwork.targets import make_conv, make_dense, make_lstm, make_several
from keras_hyper import ChunkedGenerator, Hypernetwork, LowRankGenerator, TaskEmbedding

TARGETS = {
    "dense": (make_dense, (5,)),
    "conv": (make_conv, (6, 6, 2)),
    "lstm": (make_lstm, (3, 2)),
    "batch norm": (
        lambda: keras.Sequential([keras.Input((5,)), layers.Dense(3), layers.BatchNormalization()]),
        (5,),
    ),
}


def hyper_of(target, **kwargs):
    kwargs.setdefault("generator", ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3))
    return Hypernetwork(target, condition=2, sample_axis=True, **kwargs)


def data(rng, shape):
    x = rng.normal(size=(3, 4, *shape)).astype("float32")
    return x, rng.normal(size=(3, 2)).astype("float32")


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    "options",
    [{}, {"generator": LowRankGenerator(2), "composition": "add", "include": "*kernel"}],
    ids=["replace", "add"],
)
def test_each_condition_has_its_weights_for_all_of_its_samples(kind, options, rng):
    make, shape = TARGETS[kind]
    hyper = hyper_of(make(), **options)
    x, c = data(rng, shape)
    for weight in hyper.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) / 3)
    outputs = to_numpy(hyper(x, condition=c))
    assert hyper.compute_output_shape((None, None, *shape)) == (None, None, *outputs.shape[2:])
    for i in range(3):
        expected = to_numpy(hyper.bake(c[i])(x[i]))
        np.testing.assert_allclose(outputs[i], expected, rtol=1e-3, atol=1e-4)


def test_a_batch_of_fit_counts_conditions(rng, tmp_path):
    hyper = hyper_of(make_dense())
    x, c = data(rng, (5,))
    hyper.compile("sgd", "mse", jit_compile=JIT)
    hyper.fit({"inputs": x, "condition": c}, np.zeros((3, 4, 3)), batch_size=2, verbose=0)
    predicted = hyper.predict({"inputs": x, "condition": c}, batch_size=2, verbose=0)
    np.testing.assert_allclose(predicted, to_numpy(hyper(x, condition=c)), rtol=1e-4, atol=1e-5)
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(to_numpy(again(x, condition=c)), predicted, rtol=1e-4, atol=1e-5)
    inputs, condition = keras.Input((None, 5)), keras.Input((2,))
    model = keras.Model([inputs, condition], hyper(inputs, condition=condition))
    assert model.output_shape == (None, None, 3)
    np.testing.assert_allclose(to_numpy(model([x, c])), predicted, rtol=1e-4, atol=1e-5)
    at = to_numpy(hyper.at(c[1])(x))
    np.testing.assert_allclose(at[1], predicted[1], rtol=1e-4, atol=1e-5)


def test_tasks_and_several_inputs(rng):
    hyper = Hypernetwork(
        make_several(), ChunkedGenerator(5), condition=TaskEmbedding(4, 3), sample_axis=True
    )
    inputs = keras.tree.map_structure(
        lambda x: rng.normal(size=(2, 3, *x.shape[1:])).astype("float32"), hyper.target.input
    )
    outputs = hyper(inputs, condition=[2, 0])
    for i, task in enumerate((2, 0)):
        expected = hyper.bake(task)(keras.tree.map_structure(lambda x, i=i: x[i], inputs))
        for a, b in zip(keras.tree.flatten(outputs), keras.tree.flatten(expected), strict=True):
            np.testing.assert_allclose(to_numpy(a[i]), to_numpy(b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3,), r"\(conditions, samples, ...\)"),
        ((2, 4, 6), "incompatible|expected"),
        ((2, 4, 5), "one"),
    ],
)
def test_inputs_without_the_axis_raise(shape, message):
    with pytest.raises(ValueError, match=message):
        hyper_of(make_dense())(np.ones(shape, "float32"), condition=np.ones((3, 2), "float32"))
