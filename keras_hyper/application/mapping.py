"""Calling a layer once per sample, for layers without a registered application."""

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
    batched = [one for one in given if one.kernel.batched]
    weights = [one.kernel.materialize() for one in batched]
    structure = (tuple(args), dict(kwargs))
    flat = dict(enumerate(keras.tree.flatten(structure)))
    batch = ops.shape(weights[0])[0]
    known = batch if isinstance(batch, int) else None
    # Maps do not support sparse tensors.
    rows = {
        i: ops.convert_to_tensor(x, sparse=False) for i, x in flat.items() if _has_rows(x, known)
    }
    samples: dict[str, Tensors] = {"inputs": rows, "weights": weights}
    states = seed_states(layer)
    if states:
        # Each sample needs a seed, or all samples would get one dropout mask. This includes
        # inference, where a layer may call its dropout with `training=True`.
        samples["seeds"] = keras.random.randint(
            (batch, len(states)), 0, 2**31 - 1, seed=context.seeds
        )
    own_variables = {id(v) for v in layer.variables} - {id(state) for state in states}

    def call(sample: dict[str, Tensors]) -> Tensor:
        row = {i: ops.expand_dims(x, 0) for i, x in sample["inputs"].items()}
        filled = list({**flat, **row}.values())
        own_args, own_kwargs = keras.tree.pack_sequence_as(structure, filled)
        firsts = [ops.cast(sample["seeds"][i], state.dtype) for i, state in enumerate(states)]
        seeds = [
            (state, ops.stack([first, ops.zeros_like(first)]))
            for state, first in zip(states, firsts, strict=True)
        ]
        pairs = zip(batched, sample["weights"], strict=True)
        own = [one.replace(Full(value, batched=False)) for one, value in pairs]
        with giving(context.replace(own)), WeightScope([*given, *own], seeds) as scope:
            outputs = type(layer).call(layer, *own_args, **own_kwargs)
        for variable, _ in scope.updates():
            if id(variable) in own_variables:
                raise ValueError(
                    f"Layer '{layer.name}' ({type(layer).__name__}) changes its variable "
                    f"'{variable.name}' when it is called. It has per-sample weights and is called "
                    "once per sample, which does not support such changes. Freeze the layer, "
                    "exclude its weights with `include`, or pass a condition of shape (dim,)."
                )
        return {
            "outputs": keras.tree.map_structure(lambda x: _only_row(layer, x), outputs),
            "losses": [ops.convert_to_tensor(loss) for loss in scope.losses],
        }

    result = _map(layer, call, samples, batch)
    for loss in result["losses"]:
        keras.Layer.add_loss(layer, ops.mean(loss))
    return result["outputs"]


def _has_rows(x: Tensors, batch: int | None) -> bool:
    shape = tuple(getattr(x, "shape", ()))
    return len(shape) > 0 and (batch is None or shape[0] in (None, batch))


def _only_row(layer: keras.Layer, outputs: Tensor) -> Tensor:
    if len(outputs.shape) == 0 or outputs.shape[0] not in (1, None):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has per-sample weights and is called "
            "once per sample. Its outputs must have a row for each sample. Received: an output of "
            f"shape {tuple(outputs.shape)} for a batch of 1."
        )
    return ops.squeeze(outputs, axis=0)


def _map(
    layer: keras.Layer,
    call: Callable[[dict[str, Tensors]], Tensors],
    samples: dict[str, Tensors],
    batch: Tensor,
) -> Tensors:
    """Returns the stacked results of the call of a layer for each sample."""
    if isinstance(batch, int) and batch == 0:
        # Maps do not support empty batches.
        one = keras.tree.map_structure(lambda x: ops.zeros((1, *x.shape[1:]), x.dtype), samples)
        return keras.tree.map_structure(lambda x: x[:0], ops.map(call, one))
    # Only JAX compiles a vectorized map with gradients. With per-sample kernels, its convolutions
    # are slow and cannot be exported.
    slow = (*CONVOLUTIONS, *DEPTHWISE, *SEPARABLE, *TRANSPOSED)
    vectorized = keras.backend.backend() == "jax"
    vectorized = vectorized and not any(isinstance(child, slow) for child in walk(layer))
    return (ops.vectorized_map if vectorized else ops.map)(call, samples)
