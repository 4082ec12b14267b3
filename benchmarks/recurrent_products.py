"""(k) The products of a HyperLSTM alone, as TensorFlow multiplies them, against all of it."""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.recurrent import SIZES as LAYERS
from benchmarks.recurrent import products, torch_trained, trained
from benchmarks.recurrent_inference import served, torch_served

# Whether gradients are taken, and a size of (g).
SIZES = {
    f"{'training' if training else 'inference'}, {name}": (training, size)
    for training in (True, False)
    for name, size in list(LAYERS.items())[:2]
}
REFERENCE = "ours"


def either(
    training: Callable[[Any], Any], inference: Callable[[Any], Any], backend: str = "tensorflow"
) -> Candidate:
    """Returns a HyperLSTM, with gradients or without."""
    return Candidate(
        backend, lambda size: (training if size[0] else inference)(size[1]), operations
    )


def operations(size: Any) -> float:
    """Returns the multiplications and additions of a step."""
    training, shape = size
    return (3 if training else 1) * products(shape, hyper=True)


def products_alone(size: Any) -> Callable[[], Any]:
    """Returns a function that only multiplies, what a HyperLSTM does and in its order.

    But not with the scale matrices, whose small products are among all the rest.
    """
    import tensorflow as tf

    training, (batch, steps, width, units, hyper_units, embedding_dim) = size
    # Zeros take as long as other numbers, and stay finite.
    of_inputs = [tf.zeros((width, 4 * units)), tf.zeros((width, 4 * hyper_units))]
    of_states = [tf.zeros((units, 4 * units)), tf.zeros((units, 4 * hyper_units))]
    widths = (4 * hyper_units, 8 * embedding_dim, 4 * embedding_dim)
    of_states += [tf.zeros((hyper_units, columns)) for columns in widths]
    matrices = [*of_inputs, *of_states]
    # Of all steps: what is multiplied, and the gradients of the products.
    factors = [tf.zeros((batch * steps, m.shape[0])) for m in matrices]
    slopes = [tf.zeros((batch * steps, m.shape[1])) for m in matrices]

    def loop(matrices: Any) -> Any:
        def body(time: Any, factors: Any) -> Any:
            found = [x @ m for x, m in zip(factors, matrices, strict=True)]
            # What depends on the step before cannot be taken out of the loop.
            return time + 1, [x + y[:, :1] for x, y in zip(factors, found, strict=True)]

        first = [tf.zeros((batch, m.shape[0])) for m in matrices]
        return list(tf.while_loop(lambda time, _: time < steps, body, (0, first))[1])

    @tf.function
    def step() -> Any:
        if not training:
            return tf.add_n([tf.reduce_max(x) for x in loop(matrices)])
        done = [factors[0] @ m for m in of_inputs]
        done += loop(of_states)
        done += loop([tf.transpose(m) for m in of_states])
        done += [
            tf.matmul(slope, m, transpose_b=True)
            for slope, m in zip(slopes, of_inputs, strict=False)
        ]
        done += [tf.matmul(x, y, transpose_a=True) for x, y in zip(factors, slopes, strict=True)]
        return tf.add_n([tf.reduce_max(x) for x in done])

    return lambda: step().numpy()


CANDIDATES = {
    REFERENCE: either(trained(jit=False, hyper=True), served(jit=False, hyper=True)),
    "ours, layer norm": either(
        trained(jit=False, hyper=True, layer_norm=True),
        served(jit=False, hyper=True, layer_norm=True),
    ),
    "the products alone": Candidate("tensorflow", products_alone, operations),
    "labml HyperLSTM (layer norm)": either(torch_trained(True), torch_served(True), "torch"),
}
