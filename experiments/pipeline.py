"""Batches by their number, made beside the steps that use them."""

import collections
import concurrent.futures
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

THREADS = 2


def batches(batch: Callable[[int], tuple[Any, Any]], first: int, last: int) -> Any:
    """Returns the batches of steps `first` to `last` for `fit`, in order, made by threads ahead."""
    if keras.backend.backend() == "tensorflow":
        return _dataset(batch, first, last)
    return _ahead(batch, first, last)


def _dataset(batch: Callable[[int], Any], first: int, last: int) -> Any:
    import tensorflow as tf

    example = keras.tree.map_structure(tf.convert_to_tensor, batch(first))
    flat = keras.tree.flatten(example)

    def make(number: Any) -> Any:
        def arrays(n: Any) -> list[Any]:
            return keras.tree.flatten(batch(int(n)))

        tensors = tf.numpy_function(arrays, [number], [x.dtype for x in flat], stateful=False)
        for tensor, known in zip(tensors, flat, strict=True):
            # Samples of one batch may be longer than those of another.
            tensor.set_shape([len(known), *[None] * (len(known.shape) - 1)])
        return keras.tree.pack_sequence_as(example, tensors)

    numbers = tf.data.Dataset.range(first, last)
    made = numbers.map(make, num_parallel_calls=THREADS, deterministic=True)
    return made.prefetch(tf.data.AUTOTUNE)


def _ahead(batch: Callable[[int], Any], first: int, last: int) -> Iterator[Any]:
    # Not a `PyDataset`: Keras starts these anew in every epoch.
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        waiting: collections.deque[Any] = collections.deque()
        for step in range(first, last):
            waiting.append(pool.submit(batch, step))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def shuffled_rows(step: int, batch_size: int, samples: int, seed: int) -> np.ndarray:
    """Returns which samples are in the batch of a step: passes over all, each in a new order."""
    numbers = np.arange(step * batch_size, (step + 1) * batch_size)
    passes = range(numbers[0] // samples, numbers[-1] // samples + 1)
    orders = np.concatenate([_order(seed, number, samples) for number in passes])
    return orders[numbers - passes[0] * samples]


@functools.lru_cache(maxsize=4)
def _order(seed: int, number: int, samples: int) -> np.ndarray:
    return np.random.default_rng((seed, number)).permutation(samples)
