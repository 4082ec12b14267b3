"""BatchNormalization with given weights and with statistics for each task."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import needs_keras, shake, to_numpy
from keras_hyper import Hypernetwork, LinearGenerator, TaskEmbedding

LAYERS = {
    "BatchNormalization": lambda: layers.BatchNormalization(name="norm"),
    "renorm": lambda: layers.BatchNormalization(
        renorm=True, renorm_clipping={"rmax": 2.0, "rmin": 0.5, "dmax": 1.0}, name="norm"
    ),
    "without scale": lambda: layers.BatchNormalization(scale=False, name="norm"),
}
over_layers = pytest.mark.parametrize(
    "name",
    [
        "BatchNormalization",
        pytest.param("renorm", marks=needs_keras("3.14", "`renorm`")),
        "without scale",
    ],
)


def hypernetwork(make, **options):
    target = keras.Sequential([keras.Input((5, 4)), layers.Masking(), make(), layers.Dense(2)])
    hyper = Hypernetwork(target, LinearGenerator(4), condition=TaskEmbedding(3, 4), **options)
    shake(hyper, np.random.default_rng(0))
    return hyper


def batch(rng):
    x = rng.normal(size=(6, 5, 4)).astype("float32")
    x[0, 3:] = 0  # Masked.
    return x


def state(hyper):
    return {w.name: to_numpy(w) for w in hyper.target.get_layer("norm").non_trainable_variables}


@pytest.mark.parametrize("batched", [False, True])
@over_layers
def test_training_updates_the_state_as_the_stock_layer_does(name, batched, rng):
    hyper, x = hypernetwork(LAYERS[name]), batch(rng)
    stock = LAYERS[name]()
    stock.build((None, 5, 4))
    mask = ops.any(ops.not_equal(x, 0), axis=-1)
    for _ in range(2):
        plain = stock(x, training=True, mask=mask)
        outputs = hyper(x, condition=[0, 1, 2, 0, 1, 2] if batched else 1, training=True)
    expected = {v.name: to_numpy(v) for v in stock.non_trainable_variables}
    found = state(hyper)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6)
    weights = to_numpy(hyper.generate([0, 1, 2, 0, 1, 2]))
    row = 4  # Of task 1 either way.
    y = to_numpy(plain)[row]
    y = y * weights["norm/gamma"][row] if "norm/gamma" in weights else y
    y = y + weights["norm/beta"][row]
    y = y @ weights["dense/kernel"][row] + weights["dense/bias"][row]
    np.testing.assert_allclose(to_numpy(outputs)[row], y, rtol=1e-4, atol=1e-5)


@over_layers
def test_tasks_with_statistics_train_alone_and_infer_together(name, rng):
    hyper, x = hypernetwork(LAYERS[name], state_per_task=True), batch(rng)
    for task in range(3):
        hyper(x + task, condition=task, training=True)
    tasks = [0, 1, 2, 0, 1, 2]
    outputs = to_numpy(hyper(x, condition=tasks))
    for i, task in enumerate(tasks):
        alone = to_numpy(hyper(x[i : i + 1], condition=task))
        np.testing.assert_allclose(outputs[i : i + 1], alone, rtol=1e-4, atol=1e-5)
    assert not np.allclose(outputs[0], to_numpy(hyper(x[:1], condition=1))[0])
    with pytest.raises(ValueError, match="several tasks"):
        hyper(x, condition=tasks, training=True)
    hyper.target.get_layer("norm").trainable = False
    frozen = to_numpy(hyper(x, condition=tasks, training=True))
    np.testing.assert_allclose(frozen, outputs, rtol=1e-5, atol=1e-6)


def test_statistics_of_tasks_are_used_in_float32_and_outputs_are_half(rng):
    norm = layers.BatchNormalization(dtype="mixed_float16", name="norm")
    target = keras.Sequential([keras.Input((4,)), norm])
    hyper = Hypernetwork(
        target, LinearGenerator(4), condition=TaskEmbedding(3, 4), state_per_task=True
    )
    x = rng.normal(size=(3, 4)).astype("float32")
    for task in range(3):
        # Means that half precision would round away beside the inputs.
        hyper(x + 100, condition=task, training=True)
    outputs = hyper(x, condition=[0, 1, 2])
    assert keras.backend.standardize_dtype(outputs.dtype) == "float16"
    for i in range(3):
        alone = to_numpy(hyper(x[i : i + 1], condition=i))
        # Two roundings of half precision.
        np.testing.assert_allclose(to_numpy(outputs)[i : i + 1], alone, rtol=2e-3, atol=2e-3)
