"""Calling a layer once for each sample, where the table has no function for it."""

from collections.abc import Callable, Mapping, Sequence

import keras
from keras import ops

from keras_hyper.application.convolutions import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from keras_hyper.application.given import current, giving
from keras_hyper.application.scope import WeightScope
from keras_hyper.kernels import Full
from keras_hyper.typing import Tensor, Tensors
from keras_hyper.utils.graph import seed_states, walk


def call_per_sample(
    layer: keras.Layer, args: Sequence[Tensors], kwargs: Mapping[str, Tensors]
) -> Tensors:
    """Calls a layer for each sample, on a batch of one and with the weights of the sample.

    Raises if the layer changes a variable, or if its outputs have no row for each sample.
    """
    context = current()
    given = context.below(layer)
    batched = {
        key: {name: k.materialize() for name, k in one.kernels.items() if k.batched}
        for key, one in given.items()
    }
    structure = (tuple(args), dict(kwargs))
    flat = keras.tree.flatten(structure)
    batch = ops.shape(keras.tree.flatten(batched)[0])[0]
    known = batch if isinstance(batch, int) else None
    is_row = [_has_rows(x, known) for x in flat]
    # No backend maps over sparse tensors.
    rows = [
        ops.convert_to_tensor(x, sparse=False) for x, row in zip(flat, is_row, strict=True) if row
    ]
    samples: dict[str, Tensors] = {"inputs": rows, "weights": batched}
    states = seed_states(layer)
    if states:
        # One mask for all samples would be no dropout: each sample gets a seed. In
        # inference, too: some call their dropout with `training=True` there.
        samples["seeds"] = keras.random.randint(
            (batch, len(states)), 0, 2**31 - 1, seed=context.seeds
        )

    def call(sample: dict[str, Tensors]) -> Tensors:
        row = iter(ops.expand_dims(x, 0) for x in sample["inputs"])
        filled = [next(row) if is_one else x for x, is_one in zip(flat, is_row, strict=True)]
        own_args, own_kwargs = keras.tree.pack_sequence_as(structure, filled)
        seeds = []
        for i, state in enumerate(states):
            first = ops.cast(sample["seeds"][i], state.dtype)
            seeds.append((state, ops.stack([first, ops.zeros_like(first)])))
        own = {
            key: one.replace(
                {n: Full(value, batched=False) for n, value in sample["weights"][key].items()}
            )
            for key, one in given.items()
        }
        with giving(context.replace(own)), WeightScope(own.values(), seeds) as scope:
            outputs = type(layer).call(layer, *own_args, **own_kwargs)
        own_variables = {id(v) for v in layer.variables} - {id(state) for state in states}
        for variable, _ in scope.updates():
            if id(variable) in own_variables:
                raise ValueError(
                    f"Layer '{layer.name}' ({type(layer).__name__}) changes its variable "
                    f"'{variable.name}' when it is called. It has weights for each sample and is "
                    "called once for each, where such a change has no meaning. Freeze the layer, "
                    "leave its weights out with `include`, or pass a condition of shape (dim,)."
                )
        return {
            "outputs": keras.tree.map_structure(lambda x: _only_row(layer, x), outputs),
            "losses": [ops.convert_to_tensor(loss) for loss in scope.losses],
        }

    result = _map(call, samples, batch, vectorized=_vectorizes(layer))
    for loss in result["losses"]:
        keras.Layer.add_loss(layer, ops.mean(loss))
    return result["outputs"]


def _has_rows(x: Tensors, batch: int | None) -> bool:
    if not hasattr(x, "shape") or not len(x.shape):
        return False
    return batch is None or x.shape[0] in (None, batch)


def _only_row(layer: keras.Layer, outputs: Tensor) -> Tensor:
    if len(outputs.shape) == 0 or outputs.shape[0] not in (1, None):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has weights for each sample and is "
            "called once for each. Its outputs must have a row for each sample. Received: an "
            f"output of shape {tuple(outputs.shape)} for a batch of 1."
        )
    return ops.squeeze(outputs, axis=0)


def _vectorizes(layer: keras.Layer) -> bool:
    """Whether a vectorized map handles the layer, compiled and with gradients.

    A convolution with per-sample kernels is slow in one, and cannot be exported.
    """
    convolutions = (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)
    jax = keras.backend.backend() == "jax"
    return jax and not any(isinstance(child, convolutions) for child in walk(layer))


def _map(
    call: Callable[[dict[str, Tensors]], Tensors],
    samples: dict[str, Tensors],
    batch: Tensor,
    vectorized: bool,
) -> Tensors:
    """Returns the results of a function of each sample, stacked."""
    if isinstance(batch, int) and batch == 0:
        # No backend maps over no samples.
        one = keras.tree.map_structure(lambda x: ops.zeros((1, *x.shape[1:]), x.dtype), samples)
        return keras.tree.map_structure(lambda x: x[:0], ops.map(call, one))
    return (ops.vectorized_map if vectorized else ops.map)(call, samples)
