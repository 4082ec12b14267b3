"""Batches and the order of their rows."""

import keras
import numpy as np

from experiments.pipeline import batches, shuffled_rows
from helpers import to_numpy

JAX = keras.backend.backend() == "jax"


def numbered(step):
    return np.full((2, 3), step, "float32"), np.full((2,), step, "int32")


def test_batches_come_in_the_order_of_their_steps():
    made = batches(numbered, 5, 9)
    found = [to_numpy(x)[0, 0] for x, _ in getattr(made, "as_numpy_iterator", lambda: made)()]
    assert found == [5, 6, 7, 8]


def test_every_epoch_goes_on_with_the_next_batches():
    seen = []

    class Seen(keras.losses.Loss):
        def call(self, y, outputs):
            return keras.ops.mean(outputs, axis=-1) - keras.ops.cast(y, "float32")

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), Seen(), run_eagerly=not JAX, jit_compile=JAX)

    def batch(step):
        seen.append(step)
        return numbered(step)

    model.layers[0].kernel.assign(np.zeros((3, 1)))
    data = batches(batch, 0, 6)
    history = model.fit(data, steps_per_epoch=2, epochs=3, shuffle=False, verbose=0).history
    # The mean of minus the numbers of the steps: 0 and 1, 2 and 3, 4 and 5.
    np.testing.assert_allclose(history["loss"], [-0.5, -2.5, -4.5], atol=1e-5)
    assert set(seen) == set(range(6))


def test_rows_are_passes_over_all_samples_each_in_a_new_order():
    rows = np.concatenate([shuffled_rows(step, 4, 10, seed=0) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:])
    many = shuffled_rows(1, 25, 10, seed=0)
    np.testing.assert_array_equal(many[:5], shuffled_rows(5, 5, 10, seed=0))
