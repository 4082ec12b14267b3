"""Tasks one after another: what is kept, and how it is measured."""

import keras
import numpy as np
import pytest

from helpers import long_test_where_compiled, to_numpy
from hypernetwork.targets import make_dense
from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding


def make(strength=0.5, **kwargs):
    keras.utils.set_random_seed(2)
    generator = ChunkedGenerator(7, hidden_units=(6,), embedding_dim=3, activation="tanh")
    return Hypernetwork(
        make_dense(),
        generator=generator,
        condition=TaskEmbedding(4, 3),
        output_regularization=strength,
        **kwargs,
    )


def flat(weights):
    return np.concatenate([to_numpy(w).ravel() for w in weights.values()])


def train(hyper, task, x, y, steps=30):
    model = hyper.at(task)
    model.compile(keras.optimizers.Adam(0.02), "mse", jit_compile="auto")
    x, y = np.tile(x, (steps, 1)), np.tile(y, (steps, 1))
    return model.fit(x, y, batch_size=8, shuffle=False, verbose=0)


@pytest.fixture
def data(rng):
    x = rng.normal(size=(8, 5)).astype("float32")
    return x, [rng.normal(size=(8, 3)).astype("float32") for _ in range(2)]


def test_the_loss_is_the_mean_squared_drift_from_the_tasks_that_ended(data):
    x, _ = data
    hyper = make()
    model = hyper.at(2)

    def penalty():
        model(x, training=True)
        return float(to_numpy(hyper.losses[0]))

    assert penalty() == 0
    hyper.end_task()
    hyper.end_task(np.int64(3))
    assert hyper.past_tasks.next() == 1
    kept = {t: flat(hyper.generate(t)) for t in (0, 3)}
    assert penalty() < 1e-10
    for v in hyper.generator.trainable_variables:
        v.assign(v.numpy() + 0.1)
    # The conditions are kept as well: a task's embedding may move.
    conditions = to_numpy(hyper.past_tasks.conditions.value)
    table = hyper.condition.task_embedding.embeddings
    expected = np.mean([np.square(flat(hyper.generate(t)) - kept[t]).sum() for t in (0, 3)]) * 0.5
    np.testing.assert_allclose(penalty(), expected, rtol=1e-4)
    table.assign(table.numpy() * 2)
    np.testing.assert_allclose(penalty(), expected, rtol=1e-4)
    np.testing.assert_allclose(conditions[0], table.numpy()[0] / 2, rtol=1e-6)
    model(x)
    assert not hyper.losses


@long_test_where_compiled
def test_tasks_that_ended_are_kept_in_fit_and_forgotten_without(data):
    x, y = data
    errors = {}
    for strength in (0.0, 10.0):
        hyper = make(strength)
        for task in range(2):
            train(hyper, task, x, y[task])
            if task == 0:
                first = to_numpy(hyper(x, condition=0))
            hyper.end_task()
        errors[strength] = np.abs(to_numpy(hyper(x, condition=0)) - first).mean()
    assert errors[10.0] < 0.25 * errors[0.0]


@long_test_where_compiled
def test_a_run_goes_on_from_a_file(data, tmp_path):
    x, y = data
    hyper = make()
    train(hyper, 0, x, y[0], steps=3)
    hyper.end_task()
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    assert again.past_tasks.next() == 1
    histories = [train(h, 1, x, y[1], steps=4).history["loss"] for h in (hyper, again)]
    np.testing.assert_allclose(*histories, rtol=1e-5)
