"""`Hypernetwork` over targets of every kind."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from helpers import gradient_program, relative_error, shake, to_numpy
from hypernetwork.targets import KINDS
from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding, TiledKernelGenerator

KIND = {kind.name: kind for kind in KINDS}
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def make(kind, **kwargs):
    keras.utils.set_random_seed(3)
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3, activation="tanh")
    return Hypernetwork(kind.make(), generator=generator, **kwargs)


def total(outputs):
    return sum(ops.sum(ops.square(x)) for x in keras.tree.flatten(outputs))


@each_kind
def test_gradients_are_those_of_the_function_written_by_hand(kind, rng):
    hyper = make(kind, condition=3)
    x, c = kind.inputs(rng, 4), rng.normal(size=(3,)).astype("float32")
    hyper(x, condition=c)
    assert not hyper.ordinary_reasons
    shake(hyper, rng)
    x = keras.tree.map_structure(ops.convert_to_tensor, x)

    def loss(condition, by_hand, by_target):
        reference = total(kind.reference(hyper.generate(condition), x))
        ours = total(hyper(x, condition=condition, training=True))
        return by_hand * reference + by_target * ours, (reference, ours)

    program = gradient_program(loss, hyper)
    # The second step is where the gates are moved by gradients alone.
    for _ in range(2):
        (reference, ours), expected = program(c, np.float32(1), np.float32(0))
        _, actual = program(c, np.float32(0), np.float32(1))
        assert abs(reference - ours) <= 1e-5 * abs(reference)
        names = [v.path for v in hyper.trainable_variables]
        largest = max(np.abs(g).max() for g in expected[: len(names)])
        for name, a, b in zip([*names, "condition"], actual, expected, strict=False):
            assert np.abs(b).max() > 0, name
            assert np.abs(a - b).max() <= 1e-5 * max(largest, 1), name
        for v, g in zip(hyper.trainable_variables, actual, strict=False):
            v.assign(v.numpy() - 1e-3 * g / largest)


@each_kind
def test_an_added_change_starts_exactly_at_the_target(kind, rng):
    target = kind.make()
    x = kind.inputs(rng, 4)
    expected = to_numpy(target(x))
    hyper = Hypernetwork(target, condition=2, composition="add")
    actual = to_numpy(hyper(x, condition=rng.normal(size=2).astype("float32")))
    keras.tree.map_structure(np.testing.assert_array_equal, actual, expected)
    assert not hyper.ordinary_reasons


@each_kind
def test_each_sample_gets_the_outputs_of_its_own_weights(kind, rng):
    hyper = make(kind, condition=3)
    x, c = kind.inputs(rng, 3), rng.normal(size=(3, 3)).astype("float32")
    shake_built(hyper, x, c, rng)
    together = keras.tree.flatten(to_numpy(hyper(x, condition=c)))
    for i in range(3):
        row = keras.tree.map_structure(lambda a, i=i: a[i : i + 1], x)
        alone = keras.tree.flatten(to_numpy(hyper(row, condition=c[i])))
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[i : i + 1], b, rtol=1e-4, atol=1e-5)
    assert relative_error(together[0][:1], together[0][1:2]) > 1e-2


@each_kind
def test_a_baked_model_equals_the_hypernetwork_at_its_condition(kind, rng):
    hyper = make(kind, condition=3)
    x, c = kind.inputs(rng, 4), rng.normal(size=3).astype("float32")
    shake_built(hyper, x, c, rng)
    hyper(x, condition=c, training=True)  # Moves the statistics.
    plain = hyper.bake(c)
    assert type(plain).__module__.split(".")[0] in ("keras", "hypernetwork")
    actual, expected = to_numpy(plain(x)), to_numpy(hyper(x, condition=c))
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), actual, expected
    )


@each_kind
def test_a_file_gives_the_same_model(kind, rng, tmp_path):
    hyper = make(kind, condition=TaskEmbedding(3, 2), include="*kernel*", composition="add")
    x = kind.inputs(rng, 4)
    shake_built(hyper, x, 1, rng)
    hyper(x, condition=1, training=True)
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    actual, expected = to_numpy(again(x, condition=1)), to_numpy(hyper(x, condition=1))
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), actual, expected
    )
    assert list(again.generated_weights) == list(hyper.generated_weights)
    assert again.count_params() == hyper.count_params()
    assert again.ordinary_reasons == hyper.ordinary_reasons
    assert len(again.trainable_variables) == len(hyper.trainable_variables)


def shake_built(hyper, x, condition, rng):
    hyper(x, condition=condition)
    shake(hyper, rng)


@pytest.mark.parametrize("condition", [None, 3], ids=["static", "per sample"])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_kernels_of_several_tiles_share_a_generator(kind, condition, rng):
    if kind == "dense":
        parts, tile = [layers.Dense(5), layers.Dense(3)], (4, 2)
        x = rng.normal(size=(2, 6)).astype("float32")
    else:
        parts, tile = [layers.Conv2D(5, 2), layers.Conv2D(3, 2)], (2, 2, 4, 2)
        x = rng.normal(size=(2, 4, 4, 6)).astype("float32")
    target = keras.Sequential([keras.Input(x.shape[1:]), *parts])
    generator = TiledKernelGenerator(tile, embedding_dim=3)
    hyper = Hypernetwork(target, generator, condition=condition, include="*kernel")
    assert len(hyper.generated_weights) == 2
    c = None if condition is None else rng.normal(size=(2, 3)).astype("float32")
    for path, weight in hyper.generate(c).items():
        # By itself each weight is the same.
        np.testing.assert_allclose(
            to_numpy(weight), to_numpy(hyper.generated_weights[path](c)), rtol=1e-5, atol=1e-6
        )
    assert np.isfinite(to_numpy(hyper(x, condition=c))).all()
