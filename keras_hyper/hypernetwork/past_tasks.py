"""The weights of finished tasks, and the drift of a hypernetwork from them."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_hyper.ops import at_least_float32
from keras_hyper.saving import hold
from keras_hyper.typing import DType, Shape, Tensor


class PastTasks(keras.layers.Layer):
    r"""Stores conditions and weights of finished tasks, and measures the drift from them.

    The drift is `1 / n sum_t |W(c_t) - W_t|^2` over the `n` finished tasks, summed over all
    generated weights (von Oswald et al., "Continual learning with hypernetworks", ICLR 2020,
    equation 2).

    Space for all tasks is allocated in `build`, and unfinished tasks have weight zero. So a
    compiled training step stays valid when a task ends.

    Args:
        num_tasks: Integer, number of tasks.
        dtype: Dtype policy of the hypernetwork.

    Call arguments:
        weights: List of tensors `(num_tasks, *shape)`, generated from `conditions`.

    Output:
        The drift, a scalar.
    """

    conditions: keras.Variable
    ended: keras.Variable
    weights_of_tasks: list[keras.Variable]

    def __init__(self, num_tasks: int, dtype: DType = None) -> None:
        # In half precision, rounding errors would dominate the drift.
        wide = at_least_float32(keras.dtype_policies.get(dtype).variable_dtype)
        super().__init__(autocast=False, dtype=wide, name="past_tasks")
        self.num_tasks = num_tasks

    def build(self, condition_dim: int, weight_shapes: Sequence[Shape]) -> None:
        """Creates variables with a row for each task."""

        def rows(name: str, shape: Shape) -> keras.Variable:
            full = (self.num_tasks, *shape)
            return self.add_weight(name=name, shape=full, initializer="zeros", trainable=False)

        self.conditions = rows("conditions", (condition_dim,))
        self.ended = rows("ended", ())
        weights = [rows(f"weight_{i}", shape) for i, shape in enumerate(weight_shapes)]
        hold(self, "weights_of_tasks", weights)
        self.built = True

    def next(self) -> int:
        """Returns the first unfinished task, or the number of tasks."""
        unfinished = np.flatnonzero(ops.convert_to_numpy(self.ended) == 0)
        return int(next(iter(unfinished), self.num_tasks))

    def task_to_end(self, task: int | None) -> int:
        """Returns a valid task, by default the first unfinished one."""
        task = self.next() if task is None else task
        known = isinstance(task, int | np.integer) and not isinstance(task, bool)
        if not known or not 0 <= task < self.num_tasks:
            raise ValueError(
                f"`task` must be in [0, {self.num_tasks - 1}]. Received: task={task!r}"
            )
        return int(task)

    def keep(self, task: int, condition: Tensor, weights: Sequence[Tensor]) -> None:
        """Stores the condition and the weights of a task."""
        values = [condition, 1.0, *weights]
        variables = [self.conditions, self.ended, *self.weights_of_tasks]
        for variable, value in zip(variables, values, strict=True):
            rows = ops.convert_to_numpy(variable).copy()
            rows[task] = ops.convert_to_numpy(ops.cast(value, variable.dtype))
            variable.assign(rows)

    def call(self, weights: Sequence[Tensor]) -> Tensor:
        """Returns the drift."""
        total: Tensor = 0.0
        for now, then in zip(weights, self.weights_of_tasks, strict=True):
            gap = ops.square(ops.cast(now, then.dtype) - then.value)
            total = total + ops.sum(ops.reshape(gap, (self.num_tasks, -1)), axis=-1)
        ended = self.ended.value
        return ops.sum(total * ended) / ops.maximum(ops.sum(ended), 1.0)
