"""Sequences on TensorFlow, with a backward pass that knows what it is for.

TensorFlow's own gradient of a loop keeps every intermediate value of every step, and
adds to the gradient of every weight at every step. Here the loop forward keeps the
states and the products of states with matrices. The loop backward computes the rest of
a step again, goes through it, and keeps the gradients of the products; the gradient of
each matrix is one product of all steps after the loop. The gradient of what lies between
the products is compiled with XLA, which makes one loop over the numbers of all of it. The
products are not, because those of TensorFlow are the faster ones on a CPU; nor is anything
forward, where compiling gained nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_hyper.ops import at_least_float32
from keras_hyper.rnn.cell import RecurrentCell


def sweep(
    cell: RecurrentCell,
    sequences: Any,
    states: Sequence[Any],
    drops: Sequence[Any],
    mask: Any,
) -> tuple[Any, list[Any]]:
    """Returns the outputs of all steps, and the last states.

    Args:
        cell: A built cell.
        sequences: Tensor of shape `(steps, batch, features)`, of the compute type.
        states: The states before the first step.
        drops: For each of its `dropouts` None, or a tensor `(steps, batch, width)`.
        mask: None, or Booleans of shape `(steps, batch, 1)`.

    Returns:
        A tensor of shape `(steps, batch, units)`, and as many states as there were.
    """
    projected = cell.project(sequences, cell.multiply)
    names = cell.state_matrices
    in_products = {id(getattr(cell, name)) for name in [*cell.input_matrices, *names]}
    others = [v for v in cell.weights if id(v) not in in_products]
    kinds = [len(projected), len(states), len(names), len(others)]

    @tf.custom_gradient
    def run(*tensors: Any) -> Any:
        projected, states, weights, values = _parts(tensors, kinds)
        loop = _Loop(cell, names, weights, others, values)
        kept, products, places = loop.forward(projected, states, drops, mask)
        outputs = kept[0][1:]
        last = [state[-1] for state in kept]

        def gradient(*upstream: Any) -> Any:
            # What takes a part of a state has a sparse gradient.
            upstream = tuple(tf.convert_to_tensor(slope) for slope in upstream)
            # All that second derivatives would go through, so that they are noticed.
            return _once(
                cell,
                lambda up: loop.backward(projected, kept, products, places, drops, mask, up),
                upstream,
                tensors,
            )

        return [outputs, *last], gradient

    outputs, *last = run(
        *projected,
        *states,
        *(tf.cast(getattr(cell, name), sequences.dtype) for name in names),
        *(tf.convert_to_tensor(v) for v in others),
    )
    return outputs, last


class _Loop:
    """The two loops of one cell, whose weights are given as tensors."""

    def __init__(
        self,
        cell: RecurrentCell,
        names: Sequence[str],
        weights: Sequence[Any],
        others: Sequence[Any],
        values: Sequence[Any],
    ) -> None:
        self.cell = cell
        self.weights = weights
        self.index = {name: n for n, name in enumerate(names)}
        self.others = others
        self.values = values

    def forward(self, projected: Any, states: Any, drops: Any, mask: Any) -> Any:
        """Returns the states before each step and after the last, the products and their factors.

        Of each product: which state was multiplied, and whether that of the step before.
        """
        steps = tf.shape(projected[0])[0]
        places: list[tuple[int, int]] = [(0, 0)] * len(self.weights)

        def body(time: Any, states: Any, kept: Any, products: Any) -> Any:
            made: list[Any] = [None] * len(self.weights)
            sources: list[Any] = [None] * len(self.weights)

            def multiply(x: Any, name: str) -> Any:
                n = self.index[name]
                if sources[n] is not None:
                    raise ValueError(f"`transition` can multiply with '{name}' only once.")
                sources[n] = x
                made[n] = x @ self.weights[n]
                return made[n]

            new = self._step(_at(projected, time), states, _at(drops, time), multiply)
            for n, source in enumerate(sources):
                places[n] = _place(source, states, new)
            new = _select(mask, time, new, states)
            kept, products = _written(kept, time + 1, new), _written(products, time, made)
            return time + 1, new, kept, products

        kept = [
            tf.TensorArray(state.dtype, steps + 1, element_shape=state.shape).write(0, state)
            for state in states
        ]
        shapes = [(states[0].shape[0], weight.shape[1]) for weight in self.weights]
        products = [tf.TensorArray(states[0].dtype, steps, element_shape=shape) for shape in shapes]
        _, states, kept, products = tf.while_loop(
            lambda time, *_: time < steps,
            body,
            (0, list(states), kept, products),
            maximum_iterations=steps,
        )
        return [array.stack() for array in kept], products, places

    def backward(
        self,
        projected: Any,
        kept: Any,
        products: Any,
        places: Any,
        drops: Any,
        mask: Any,
        upstream: Any,
    ) -> list[Any]:
        """Returns the gradients by the inputs, the first states, the matrices and the others."""
        steps = tf.shape(projected[0])[0]
        upstream, *slopes = upstream
        # Once: products with a transposed matrix take longer.
        transposed = [tf.transpose(weight) for weight in self.weights]

        def body(time: Any, slopes: Any, by_others: Any, by_inputs: Any, by_products: Any) -> Any:
            time = time - 1
            made: list[Any] = [None] * len(self.weights)
            inputs, states = _at(projected, time), _at(kept, time)
            # The output of a step is its first state.
            slopes = [slopes[0] + upstream[time], *slopes[1:]]

            def multiply(x: Any, name: str) -> Any:
                n = self.index[name]
                made[n] = _known_product(x, products[n].read(time), transposed[n])
                return made[n]

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([inputs, states, self.values])
                new = self._step(inputs, states, _at(drops, time), multiply)
                new = _select(mask, time, new, states)
            by_inputs_now, slopes, by_made, by_other = tape.gradient(
                new,
                [inputs, states, made, list(self.values)],
                output_gradients=slopes,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            by_others = [a + tf.cast(b, a.dtype) for a, b in zip(by_others, by_other, strict=True)]
            by_inputs = _written(by_inputs, time, by_inputs_now)
            by_products = _written(by_products, time, by_made)
            return time, slopes, by_others, by_inputs, by_products

        def array(like: Any) -> Any:
            return tf.TensorArray(like.dtype, steps, element_shape=like.shape[1:])

        # Not in the place of the products: what reads and writes an array in one step, XLA copies
        # in every step, whole.
        by_products = [
            tf.TensorArray(product.dtype, steps, element_shape=product.element_shape)
            for product in products
        ]
        _, slopes, by_others, by_inputs, by_products = tf.while_loop(
            lambda time, *_: time > 0,
            body,
            (
                steps,
                slopes,
                # In half precision, a long sum would not grow any more.
                [tf.zeros_like(v, dtype=at_least_float32(v.dtype)) for v in self.values],
                [array(part) for part in projected],
                by_products,
            ),
            maximum_iterations=steps,
        )
        by_others = [tf.cast(a, v.dtype) for a, v in zip(by_others, self.values, strict=True)]
        by_weights = []
        for (state, first), slope in zip(places, by_products, strict=True):
            source = kept[state][first : first + steps]
            source = tf.reshape(source, (-1, source.shape[-1]))
            slope = slope.stack()
            slope = tf.reshape(slope, (-1, slope.shape[-1]))
            by_weights.append(tf.matmul(source, slope, transpose_a=True))
        return [*(array.stack() for array in by_inputs), *slopes, *by_weights, *by_others]

    def _step(self, projected: Any, states: Any, drops: Any, multiply: Any) -> Any:
        return self.cell.transition(projected, states, drops, multiply, self._fuse)

    def _fuse(self, function: Callable[..., Any], *tensors: Any) -> Any:
        """Returns `function(*tensors)`, whose gradient is compiled."""
        given = [tensor is not None for tensor in tensors]

        def whole(tensors: Any, values: Any) -> Any:
            rest = iter(tensors)
            arguments = [next(rest) if there else None for there in given]
            with keras.StatelessScope(list(zip(self.others, values, strict=True))):
                return function(*arguments)

        @tf.function(jit_compile=True, autograph=False)
        def slopes(tensors: Any, values: Any, upstream: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([tensors, values])
                outputs = whole(tensors, values)
            return tape.gradient(outputs, [*tensors, *values], output_gradients=upstream)

        @tf.custom_gradient
        def call(*arguments: Any) -> Any:
            tensors, values = arguments[: sum(given)], arguments[sum(given) :]
            outputs = whole(tensors, values)
            return outputs, lambda *upstream: slopes(tensors, values, list(upstream))

        return call(*(tensor for tensor in tensors if tensor is not None), *self.values)


def _known_product(x: Any, product: Any, transposed: Any) -> Any:
    @tf.custom_gradient
    def call(x: Any) -> Any:
        return tf.identity(product), lambda slope: slope @ transposed

    return call(x)


def _once(cell: Any, function: Callable[..., Any], upstream: Any, through: Any) -> list[Any]:
    """Returns `function(upstream)`, which must not be differentiated."""

    @tf.custom_gradient
    def call(*tensors: Any) -> Any:
        def refuse(*_: Any) -> Any:
            raise NotImplementedError(
                f"The training pass of {type(cell).__name__.removesuffix('Cell')} has no second "
                "derivatives on TensorFlow: its gradient is written by hand. Call the layer with "
                f"training=False, or use `keras.layers.RNN` of a {type(cell).__name__}."
            )

        return function(tensors[: len(upstream)]), refuse

    return call(*upstream, *through)


def _select(mask: Any, time: Any, new: Any, old: Any) -> Any:
    if mask is None:
        return new
    return [tf.where(mask[time], a, b) for a, b in zip(new, old, strict=True)]


def _at(tensors: Any, time: Any) -> list[Any]:
    return [None if tensor is None else tensor[time] for tensor in tensors]


def _written(arrays: Any, time: Any, tensors: Any) -> list[Any]:
    return [array.write(time, tensor) for array, tensor in zip(arrays, tensors, strict=True)]


def _place(source: Any, old: Any, new: Any) -> tuple[int, int]:
    for first, states in enumerate((old, new)):
        for n, state in enumerate(states):
            if source is state:
                return n, first
    raise ValueError("Only states can be multiplied in `transition`.")


def _parts(tensors: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    parts, start = [], 0
    for size in sizes:
        parts.append(list(tensors[start : start + size]))
        start += size
    return parts
