"""Weights as the factors that were generated: sizes, and outputs from them."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from helpers import compiled, shake, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperConv2D,
    HyperDense,
    HyperEinsumDense,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
)

RANK, FAN_IN, UNITS = 2, 30, 20
CONDITIONS = {"one condition": (4,), "per-sample": (5, 4)}


def low_rank():
    return LowRankGenerator(rank=RANK, embedding_dim=3)


def target():
    return keras.Sequential(
        [keras.Input((FAN_IN,)), layers.Dense(UNITS, name="a"), layers.Dense(3, name="b")]
    )


def numbers(tree):
    return sum(math.prod(x.shape) for x in keras.tree.flatten(tree))


# Composition, generator, and the factors of `a/kernel`.
HYPER = {
    "replace": ("replace", low_rank, {"left": (FAN_IN, RANK), "right": (RANK, UNITS)}),
    "add": ("add", low_rank, {"left": (FAN_IN, RANK), "right": (RANK, UNITS)}),
    "add whole": ("add", lambda: ChunkedGenerator(6), {"value": (FAN_IN, UNITS)}),
    "add mixture": ("add", lambda: LinearGenerator(3), {"value": (FAN_IN, UNITS)}),
    "multiply": ("multiply", low_rank, {"value": (FAN_IN, UNITS)}),
    "scale": ("scale", lambda: ChunkedGenerator(6), {"scale": (1, UNITS)}),
}


@pytest.mark.parametrize("shape", CONDITIONS.values(), ids=CONDITIONS)
@pytest.mark.parametrize("case", HYPER)
def test_a_hypernetwork_generates_and_takes_factors(case, shape, rng):
    composition, generator, factors = HYPER[case]
    hyper = Hypernetwork(
        target(), generator(), 4, include="*kernel", composition=composition, base_trainable=True
    )
    shake(hyper, rng)
    x, c = (rng.normal(size=s).astype("float32") for s in ((5, FAN_IN), shape))
    weights = compiled(lambda c: hyper.generate(c, factored=True), hyper)(c)
    rows = shape[:-1]
    expected = {name: rows + size for name, size in factors.items()}
    assert {name: tuple(v.shape) for name, v in weights["a/kernel"].items()} == expected
    outputs = compiled(lambda w, x: hyper.apply(w, x), hyper)(weights, x)
    whole = hyper(x, condition=c)
    np.testing.assert_allclose(to_numpy(outputs), to_numpy(whole), rtol=1e-4, atol=1e-5)
    if composition == "add":  # What is stored is not returned.
        part = weights["a/kernel"]
        change = part["left"] @ part["right"] if "left" in part else part["value"]
        base = hyper.generated_weights["a/kernel"].base
        np.testing.assert_allclose(
            to_numpy(change) + to_numpy(base.value),
            to_numpy(hyper.generate(c)["a/kernel"]),
            rtol=1e-4,
            atol=1e-5,
        )


def test_tensors_and_factors_may_be_mixed(rng):
    hyper = Hypernetwork(target(), low_rank(), 4, include="*kernel")
    x, c = (rng.normal(size=s).astype("float32") for s in ((5, FAN_IN), (5, 4)))
    weights = {**hyper.generate(c), "a/kernel": hyper.generate(c, factored=True)["a/kernel"]}
    np.testing.assert_allclose(
        to_numpy(hyper.apply(weights, x)), to_numpy(hyper(x, condition=c)), rtol=1e-4, atol=1e-5
    )


LAYERS = {
    "dense": (lambda: HyperDense(UNITS, generator=low_rank()), (FAN_IN,), RANK * (FAN_IN + UNITS)),
    "add": (
        lambda: HyperDense(UNITS, generator=low_rank(), composition="add", generate_bias=True),
        (FAN_IN,),
        RANK * (FAN_IN + UNITS) + UNITS,
    ),
    "conv": (
        lambda: HyperConv2D(UNITS, 3, generator=low_rank()),
        (8, 8, 4),
        RANK * (9 * 4 + UNITS),
    ),
    "heads": (
        lambda: HyperEinsumDense("bth,hnd->btnd", (None, 2, 10), generator=low_rank()),
        (3, FAN_IN),
        RANK * (FAN_IN + UNITS),
    ),
    "scale": (lambda: HyperDense(UNITS, composition="scale"), (FAN_IN,), UNITS),
}


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_generates_factors(case, rng):
    make, shape, size = LAYERS[case]
    layer, x = make(), rng.normal(size=(5, *shape)).astype("float32")
    c = rng.normal(size=(5, 4)).astype("float32")
    layer(x, condition=c)
    assert numbers(layer.generate(c, factored=True)) == 5 * size
    assert numbers(layer.generate(c[0], factored=True)) == size


WRONG = {
    "rank": ({"left": np.ones((FAN_IN, 3)), "right": np.ones((2, UNITS))}, "must have shape"),
    "batch axis": (
        {"left": np.ones((5, FAN_IN, 2)), "right": np.ones((2, UNITS))},
        "must have a leading batch axis, or neither",
    ),
    "half": ({"left": np.ones((FAN_IN, 2))}, r"with the keys \['value'\] or \['left', 'right'\]"),
    "scale": ({"scale": np.ones((1, UNITS))}, r"Received: \['scale'\]"),
    "shape": ({"value": np.ones((UNITS, FAN_IN))}, r"`weights\['a/kernel'\]\['value'\]`"),
}


@pytest.mark.parametrize("case", WRONG)
def test_factors_that_do_not_fit(case):
    value, message = WRONG[case]
    hyper = Hypernetwork(target(), low_rank(), 4, include="*kernel")
    weights = hyper.generate(np.ones(4, "float32"), factored=True)
    with pytest.raises(ValueError, match=message):
        hyper.apply({**weights, "a/kernel": value}, np.ones((5, FAN_IN), "float32"))
