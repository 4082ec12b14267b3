"""Calling a layer once for each sample, where the table has no function for it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_hyper.application.stock import Given, all_given, giving, run_with
from keras_hyper.kernels import Full
from keras_hyper.utils.graph import seed_generators, walk

# A convolution with per-sample kernels is slow in a vectorized map, and cannot be exported.
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def call_per_sample(
    layer: keras.layers.Layer,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    method: str,
    seeds: keras.random.SeedGenerator,
) -> Any:
    """Calls a layer for each sample, on a batch of one and with the weights of the sample.

    Args:
        layer: A layer that is given weights for each sample.
        args: Arguments of `call`.
        kwargs: Keyword arguments of `call`.
        method: Name of the method.
        seeds: Draws a seed for each sample.

    Raises:
        ValueError: If the layer changes a variable, or if its outputs have no row for each
            sample.
    """
    inside = {id(child) for child in walk(layer)}
    affected = {key: given for key, given in all_given().items() if key in inside}
    batched = {
        key: {name: k.materialize() for name, k in _kernels(given).items() if k.batched}
        for key, given in affected.items()
    }
    flat = keras.tree.flatten((tuple(args), dict(kwargs)))
    batch = ops.shape(keras.tree.flatten(batched)[0])[0]
    known = batch if isinstance(batch, int) else None
    is_row = [_has_rows(x, known) for x in flat]
    generators = seed_generators(layer)
    samples: dict[str, Any] = {
        # No backend maps over sparse tensors.
        "inputs": [
            ops.convert_to_tensor(x, sparse=False)
            for x, row in zip(flat, is_row, strict=True)
            if row
        ],
        "weights": batched,
    }
    if generators:
        # One mask for all samples would be no dropout: each sample gets a seed. In
        # inference, too: some call their dropout with `training=True` there.
        samples["seeds"] = keras.random.randint((batch, len(generators)), 0, 2**31 - 1, seed=seeds)

    def one(sample: Any) -> Any:
        rows = iter(ops.expand_dims(x, 0) for x in sample["inputs"])
        filled = [next(rows) if row else x for x, row in zip(flat, is_row, strict=True)]
        own_args, own_kwargs = keras.tree.pack_sequence_as((tuple(args), dict(kwargs)), filled)
        own_seeds = {}
        for i, generator in enumerate(generators):
            first = ops.cast(sample["seeds"][i], generator.state.dtype)
            own_seeds[id(generator.state)] = ops.stack([first, ops.zeros_like(first)])
        given = {key: _of_sample(affected[key], sample["weights"][key]) for key in affected}
        with giving({**all_given(), **given}):
            own = given[id(layer)]
            outputs, changed, losses = run_with(
                layer,
                {name: kernel.materialize() for name, kernel in own.generated.items()},
                own_args,
                own_kwargs,
                method,
                own_seeds,
            )
        for variable, _ in changed:
            if id(variable) not in own_seeds:
                raise ValueError(
                    f"Layer '{layer.name}' ({type(layer).__name__}) changes its variable "
                    f"'{variable.name}' when it is called. It has weights for each sample and is "
                    "called once for each, where such a change has no meaning. Freeze the layer, "
                    "leave its weights out with `include`, or pass a condition of shape (dim,)."
                )
        return {
            "outputs": keras.tree.map_structure(lambda x: _only_row(layer, x), outputs),
            "losses": [ops.convert_to_tensor(loss) for loss in losses],
        }

    if known == 0:
        result = _empty(one, samples)
    elif _vectorizes(layer):
        result = ops.vectorized_map(one, samples)
    else:
        result = ops.map(one, samples)
    for loss in result["losses"]:
        layer.add_loss(ops.mean(loss))
    return result["outputs"]


def _kernels(given: Given) -> dict[str, Any]:
    return {**given.generated, **given.state}


def _has_rows(x: Any, batch: int | None) -> bool:
    if not hasattr(x, "shape") or not len(x.shape):
        return False
    return batch is None or x.shape[0] in (None, batch)


def _of_sample(given: Given, tensors: Mapping[str, Any]) -> Given:
    """Returns what a layer is given for one sample."""
    kernels = {name: Full(value, batched=False) for name, value in tensors.items()}
    return dataclasses.replace(
        given,
        generated={name: kernels.get(name, k) for name, k in given.generated.items()},
        state={name: kernels.get(name, k) for name, k in given.state.items()},
    )


def _only_row(layer: keras.layers.Layer, outputs: Any) -> Any:
    if len(outputs.shape) == 0 or outputs.shape[0] not in (1, None):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) has weights for each sample and is "
            "called once for each. Its outputs must have a row for each sample. Received: an "
            f"output of shape {tuple(outputs.shape)} for a batch of 1."
        )
    return ops.squeeze(outputs, axis=0)


def _vectorizes(layer: keras.layers.Layer) -> bool:
    """Whether a vectorized map handles the layer, compiled and with gradients."""
    jax = keras.backend.backend() == "jax"
    return jax and not any(isinstance(child, _CONVOLUTIONS) for child in walk(layer))


def _empty(one: Any, samples: Any) -> Any:
    """Returns the outputs for no samples, which no backend maps over."""
    stand_in = keras.tree.map_structure(
        lambda x: ops.zeros((1, *x.shape[1:]), dtype=x.dtype), samples
    )
    return keras.tree.map_structure(lambda x: x[:0], ops.map(one, stand_in))
