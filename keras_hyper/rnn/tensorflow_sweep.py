"""The training pass of recurrent layers on TensorFlow, with a hand-written gradient.

TensorFlow's gradient of a loop keeps every intermediate value of every step, and adds to the
gradient of every weight at every step. Here the forward loop keeps the states and the products
of states with matrices. The backward loop computes the rest of a step again, differentiates it,
and keeps the gradients of the products. After the loop, one product of all steps gives the
gradient of each matrix.

XLA compiles the gradient of the operations between the products into one loop over elements.
The products are not compiled, because those of TensorFlow are faster on a CPU. The forward
loop is not compiled, because compiling gained nothing there.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from keras_hyper.ops import at_least_float32
from keras_hyper.rnn.cell import Multiply, RecurrentCell, States
from keras_hyper.typing import Shape, Tensor, Tensors

# The state that a product multiplies: its index, and 1 for the state after the step.
Place = tuple[int, int]


def sweep(
    cell: RecurrentCell, sequences: Tensor, states: States, drops: States, mask: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Returns the outputs of all steps and the last states.

    Args:
        cell: A built cell.
        sequences: Tensor of shape `(steps, batch, features)`, of the compute dtype.
        states: The states before the first step.
        drops: A tensor `(steps, batch, width)`, or None, for each of the cell's `dropouts`.
        mask: None, or Booleans of shape `(steps, batch, 1)`.

    Returns:
        A tensor of shape `(steps, batch, units)`, and a list of states.
    """
    names = cell.state_matrices
    in_products = {id(getattr(cell, name)) for name in [*cell.input_matrices, *names]}
    others = [v for v in cell.weights if id(v) not in in_products]

    @tf.custom_gradient
    def run(projected: States, states: States, weights: States, values: States) -> Tensors:
        loop = _Loop(cell, projected, drops, mask, weights, others, values)
        kept, products, places = loop.forward(states)

        def gradient(*upstream: Tensor) -> Tensors:
            # The gradient of `tf.gather` is sparse.
            dense = [tf.convert_to_tensor(slope) for slope in upstream]
            backward = functools.partial(loop.backward, kept, products, places)
            return _once(cell, backward, dense, [*projected, *states, *weights, *values])

        return [kept[0][1:], *(state[-1] for state in kept)], gradient

    outputs, *last = run(
        cell.project(sequences, cell.multiply),
        list(states),
        [tf.cast(getattr(cell, name), sequences.dtype) for name in names],
        [tf.convert_to_tensor(v) for v in others],
    )
    return outputs, last


@dataclasses.dataclass
class _Loop:
    """The forward and backward loops of one cell, and their constants."""

    cell: RecurrentCell
    projected: States  # The projected inputs of all steps.
    drops: States
    mask: Tensor
    weights: States  # Values of the cell's `state_matrices`.
    others: Sequence[keras.Variable]  # The other variables of the cell.
    values: States  # Values of `others`.

    def forward(self, states: States) -> tuple[list[Tensor], list[tf.TensorArray], list[Place]]:
        """Returns the states before each step and after the last, the products, their places."""
        steps = tf.shape(self.projected[0])[0]
        names = self.cell.state_matrices
        places: list[Place] = [(0, 0)] * len(names)

        def body(time: Tensor, states: States, kept: Tensors, products: Tensors) -> Tensors:
            made: dict[str, Tensor] = {}
            sources: dict[str, Tensor] = {}

            def multiply(x: Tensor, name: str) -> Tensor:
                if name in sources:
                    raise ValueError(f"`transition` can multiply with '{name}' only once.")
                sources[name], made[name] = x, x @ self.weights[names.index(name)]
                return made[name]

            new = self._step(time, _at(self.projected, time), states, multiply)
            places[:] = [_place(sources[name], states, new) for name in names]
            taken = self._taken(time, new, states)
            kept = _written(kept, time + 1, taken)
            products = _written(products, time, [made[name] for name in names])
            return time + 1, taken, kept, products

        kept = [_array(steps + 1, state, state.shape).write(0, state) for state in states]
        batch = states[0].shape[0]
        products = [_array(steps, states[0], (batch, w.shape[1])) for w in self.weights]
        start = (0, states, kept, products)
        _, _, kept, products = tf.while_loop(
            lambda time, *_: time < steps, body, start, maximum_iterations=steps
        )
        return [array.stack() for array in kept], products, places

    def backward(
        self, kept: States, products: Tensors, places: Sequence[Place], slopes: States
    ) -> list[Tensor]:
        """Returns the gradients by the inputs, the first states, the matrices and the others.

        Takes the results of `forward`, and the gradients by the outputs and the last states.
        """
        steps = tf.shape(self.projected[0])[0]
        names = self.cell.state_matrices
        upstream, *slopes = slopes
        # Transpose once: products with a transposed matrix take longer.
        transposed = [tf.transpose(weight) for weight in self.weights]

        def body(
            time: Tensor,
            slopes: States,
            by_others: States,
            by_inputs: Tensors,
            by_products: Tensors,
        ) -> Tensors:
            time = time - 1
            made: dict[str, Tensor] = {}
            inputs, states = _at(self.projected, time), _at(kept, time)
            # The output of a step is its first state.
            slopes = [slopes[0] + upstream[time], *slopes[1:]]

            def multiply(x: Tensor, name: str) -> Tensor:
                n = names.index(name)
                made[name] = _known_product(x, products[n].read(time), transposed[n])
                return made[name]

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([inputs, states, self.values])
                new = self._taken(time, self._step(time, inputs, states, multiply), states)
            by_inputs_now, slopes, by_made, by_other = tape.gradient(
                new,
                [inputs, states, [made[name] for name in names], list(self.values)],
                output_gradients=slopes,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            by_others = [a + tf.cast(b, a.dtype) for a, b in zip(by_others, by_other, strict=True)]
            by_inputs = _written(by_inputs, time, by_inputs_now)
            by_products = _written(by_products, time, by_made)
            return time, slopes, by_others, by_inputs, by_products

        # In half precision, a long sum would stop growing.
        zeros = [tf.zeros_like(v, dtype=at_least_float32(v.dtype)) for v in self.values]
        by_inputs = [_array(steps, part, part.shape[1:]) for part in self.projected]
        # Do not reuse the arrays of the products: XLA copies an array in every step that reads
        # and writes it.
        by_products = [_array(steps, product, product.element_shape) for product in products]
        start = (steps, slopes, zeros, by_inputs, by_products)
        _, slopes, by_others, by_inputs, by_products = tf.while_loop(
            lambda time, *_: time > 0, body, start, maximum_iterations=steps
        )
        by_others = [tf.cast(a, v.dtype) for a, v in zip(by_others, self.values, strict=True)]
        by_weights = []
        for (state, first), array in zip(places, by_products, strict=True):
            source, slope = _rows(kept[state][first : first + steps]), _rows(array.stack())
            by_weights.append(tf.matmul(source, slope, transpose_a=True))
        return [*(array.stack() for array in by_inputs), *slopes, *by_weights, *by_others]

    def _step(
        self, time: Tensor, projected: States, states: States, multiply: Multiply
    ) -> list[Tensor]:
        drops = _at(self.drops, time)
        return self.cell.transition(projected, states, drops, multiply, self._fuse)

    def _taken(self, time: Tensor, new: States, old: States) -> States:
        """Returns the new states, or the old ones where the step is masked."""
        if self.mask is None:
            return new
        return [tf.where(self.mask[time], a, b) for a, b in zip(new, old, strict=True)]

    def _fuse(self, function: Callable[..., list[Tensor]], *tensors: Tensor) -> Tensors:
        """Returns `function(*tensors)` with a compiled gradient."""
        given = [tensor is not None for tensor in tensors]

        def whole(tensors: States, values: States) -> list[Tensor]:
            rest = iter(tensors)
            arguments = [next(rest) if there else None for there in given]
            with keras.StatelessScope(list(zip(self.others, values, strict=True))):
                return function(*arguments)

        @tf.function(jit_compile=True, autograph=False)
        def slopes(tensors: States, values: States, upstream: States) -> Tensors:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([tensors, values])
                outputs = whole(tensors, values)
            return tape.gradient(outputs, [*tensors, *values], output_gradients=upstream)

        @tf.custom_gradient
        def call(tensors: States, values: States) -> Tensors:
            outputs = whole(tensors, values)
            return outputs, lambda *upstream: slopes(tensors, values, list(upstream))

        return call([x for x in tensors if x is not None], list(self.values))


def _known_product(x: Tensor, product: Tensor, transposed: Tensor) -> Tensor:
    """Returns `product`, with the gradient of a product of `x` with a matrix."""

    @tf.custom_gradient
    def call(x: Tensor) -> Tensors:
        return tf.identity(product), lambda slope: slope @ transposed

    return call(x)


def _once(
    cell: RecurrentCell, function: Callable[[States], Tensors], upstream: States, through: States
) -> Tensors:
    """Returns `function(upstream)`; raises if it is differentiated, also by `through`."""

    @tf.custom_gradient
    def call(upstream: States, through: States) -> Tensors:
        def refuse(*_: Tensor) -> None:
            raise NotImplementedError(
                f"The training pass of {type(cell).__name__.removesuffix('Cell')} has no second "
                "derivatives on TensorFlow: its gradient is written by hand. Call the layer with "
                f"training=False, or use `keras.layers.RNN` of a {type(cell).__name__}."
            )

        return function(upstream), refuse

    return call(upstream, through)


def _array(steps: Tensor, like: Tensor, shape: Shape) -> tf.TensorArray:
    return tf.TensorArray(like.dtype, steps, element_shape=shape)


def _at(tensors: Sequence[Tensor], time: Tensor) -> list[Tensor]:
    return [None if tensor is None else tensor[time] for tensor in tensors]


def _written(arrays: Tensors, time: Tensor, tensors: States) -> list[tf.TensorArray]:
    return [array.write(time, tensor) for array, tensor in zip(arrays, tensors, strict=True)]


def _rows(x: Tensor) -> Tensor:
    return tf.reshape(x, (-1, x.shape[-1]))


def _place(source: Tensor, old: States, new: States) -> Place:
    for after, states in enumerate((old, new)):
        for n, state in enumerate(states):
            if source is state:
                return n, after
    raise ValueError("`transition` can multiply only states with matrices.")
