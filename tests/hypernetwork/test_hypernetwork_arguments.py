"""What a `Hypernetwork` is asked for: what is included, and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import to_numpy
from hypernetwork.targets import make_conv, make_dense, make_lstm, make_normalized
from keras_hyper import (
    ChunkedGenerator,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    NoiseCondition,
    TaskEmbedding,
    TemplateGenerator,
    TiledKernelGenerator,
    bake,
    plan,
    summary,
)

DENSE = ["a/kernel", "a/bias", "b/kernel", "b/bias"]


def chunks(size=5):
    return ChunkedGenerator(size, hidden_units=(4,), embedding_dim=3, activation="tanh")


@pytest.mark.parametrize(
    ("include", "paths"),
    [
        ("*", DENSE),
        ("*kernel", ["a/kernel", "b/kernel"]),
        ("a", ["a/kernel", "a/bias"]),
        (["a/bias", "b"], ["a/bias", "b/kernel", "b/bias"]),
        (layers.Dense, DENSE),
        (lambda path, variable: len(variable.shape) == 2, ["a/kernel", "b/kernel"]),
    ],
    ids=["all", "glob", "layer", "list", "type", "function"],
)
def test_include(include, paths, rng, tmp_path):
    hyper = Hypernetwork(make_dense(), generator=chunks(), include=include)
    assert list(hyper.generated_weights) == paths
    assert list(hyper.ordinary_reasons) == [p for p in DENSE if p not in paths]
    assert set(hyper.ordinary_reasons.values()) <= {"not included"}
    # Those that are not generated are trained, too.
    x = rng.normal(size=(4, 5)).astype("float32")
    hyper.compile("sgd", "mse")
    before = [to_numpy(v.value).copy() for v in hyper.runner.ordinary.values()]
    hyper.fit(x, np.ones((4, 3)), verbose=0)
    for v, old in zip(hyper.runner.ordinary.values(), before, strict=True):
        assert np.abs(to_numpy(v.value) - old).max() > 0
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    assert list(again.generated_weights) == paths
    np.testing.assert_allclose(to_numpy(again(x)), to_numpy(hyper(x)), rtol=1e-6)


ITERABLES = {
    "set": lambda paths: set(paths),
    "frozenset": lambda paths: frozenset(paths),
    "dict": lambda paths: dict.fromkeys(paths),
    "keys": lambda paths: dict.fromkeys(paths).keys(),
    "generator": lambda paths: (path for path in paths),
    "array": lambda paths: np.asarray(paths),
}


@pytest.mark.parametrize("kind", ITERABLES)
def test_any_iterable_of_paths_is_as_a_list(kind):
    make = ITERABLES[kind]
    hyper = Hypernetwork(make_dense(), chunks(), include=make(["b", "a/kernel"]))
    assert list(hyper.generated_weights) == ["a/kernel", "b/kernel", "b/bias"]
    assert sorted(hyper.get_config()["include"]) == ["a/kernel", "b"]
    chosen = plan(make_dense(), 500, make(["a/kernel"]))
    assert str(chosen) == str(plan(make_dense(), 500, ["a/kernel"]))
    # A weight that is named raises where it cannot be generated.
    tiles = TiledKernelGenerator(tile=(3, 3, 2, 3), embedding_dim=4)
    with pytest.raises(ValueError, match=r"'transpose/kernel'.*was named.*cannot be"):
        Hypernetwork(make_conv(), tiles, include=make(["conv", "transpose/kernel"]))
    target = make_dense()
    target.get_layer("a").trainable = False
    with pytest.raises(ValueError, match="names 'a/kernel', which is frozen"):
        Hypernetwork(target, chunks(), include=make(["a/kernel"]))
    with pytest.raises(ValueError, match="names 'b/bias', which starts at zero"):
        Hypernetwork(make_dense(), chunks(), composition="scale", include=make(["b/bias"]))


@pytest.mark.parametrize("include", [3, [3], layers.Dense(2), {"a", int}, None, [["a"]]])
def test_include_of_another_type_raises_before_the_target_is_built(include):
    for call in (
        lambda: Hypernetwork(keras.Sequential([layers.Dense(2)]), include=include),
        lambda: plan(make_dense(), 500, include),
    ):
        with pytest.raises(TypeError, match="`include` must be a path pattern"):
            call()


def test_a_layer_type_means_what_is_inside_of_it():
    hyper = Hypernetwork(make_lstm(), generator=chunks(), include=[layers.LSTM])
    prefix = "lstm/lstm_cell"
    assert list(hyper.generated_weights) == [
        f"{prefix}/{n}" for n in ("kernel", "recurrent_kernel", "bias")
    ]


def test_weights_that_a_generator_cannot_make_stay_ordinary():
    tiles = TiledKernelGenerator(tile=(3, 3, 2, 3), embedding_dim=4)
    hyper = Hypernetwork(make_conv(), generator=tiles)
    assert list(hyper.generated_weights) == [
        "conv/kernel",
        "depthwise/kernel",
        "separable/depthwise_kernel",
    ]
    assert "(3, 3, 'any', 'any')" in hyper.ordinary_reasons["transpose/kernel"]
    with pytest.raises(ValueError, match=r"'transpose/kernel'.*was named.*cannot be"):
        Hypernetwork(make_conv(), generator=tiles, include=["conv", "transpose/kernel"])


class Temperature(layers.Layer):
    def build(self, inputs_shape):
        self.temperature = self.add_weight(name="temperature", shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.temperature


@pytest.mark.parametrize("composition", ["replace", "add", "multiply", "scale"])
def test_a_scalar_that_a_generator_cannot_make_stays_ordinary(composition):
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="a"), Temperature(name="t")])
    hyper = Hypernetwork(target, LowRankGenerator(1), 3, composition=composition)
    assert "a/kernel" in hyper.generated_weights
    assert "t/temperature" in hyper.ordinary_reasons


def test_a_generator_for_each_pattern():
    generators = {"a/kernel": LowRankGenerator(2), "*kernel": chunks()}
    hyper = Hypernetwork(make_dense(), generator=generators)
    assert [type(weight.generator) for weight in hyper.generated_weights.values()] == [
        LowRankGenerator,
        ChunkedGenerator,
    ]
    assert hyper.ordinary_reasons == dict.fromkeys(
        ["a/bias", "b/bias"], "no pattern of `generator` matches"
    )


@pytest.mark.parametrize("condition", [None, TaskEmbedding(4, 3)])
def test_the_default_stores_half_of_what_it_generates(condition):
    hyper = Hypernetwork(
        keras.Sequential([keras.Input((64,)), layers.Dense(64)]), condition=condition
    )
    tasks = 0 if condition is None else 12
    assert hyper.count_params() - tasks <= (64 * 64 + 64) / 2


# The bias of an LSTM starts at ones and zeros, 16 numbers that are stored besides.
@pytest.mark.parametrize(("make", "start"), [(make_dense, 0), (make_conv, 0), (make_lstm, 16)])
def test_the_default_of_small_targets_stores_no_more_than_they_have_and_gates(make, start):
    hyper = Hypernetwork(make())
    assert not hyper.ordinary_reasons
    assert hyper.count_params() <= make().count_params() + start + len(hyper.generated_weights)


def test_weights_that_start_as_constants_start_there(rng):
    hyper = Hypernetwork(make_normalized(), generator=chunks(), condition=2)
    weights = hyper.generate(rng.normal(size=2).astype("float32"))
    for path, value in {"a/bias": 0, "norm/gamma": 1, "norm/beta": 0}.items():
        np.testing.assert_array_equal(to_numpy(weights[path]), value)
    lstm = Hypernetwork(make_lstm(), generator=chunks())
    np.testing.assert_array_equal(
        to_numpy(lstm.generate()["lstm/lstm_cell/bias"]), np.repeat([0, 1, 0, 0], 4)
    )
    # What is replaced is left as it was.
    assert all(v.trainable for v in lstm.target.weights)
    lstm.target.get_layer("lstm").cell.bias.assign(np.ones(16))
    np.testing.assert_array_equal(
        to_numpy(lstm.generate()["lstm/lstm_cell/bias"]), np.repeat([0, 1, 0, 0], 4)
    )


@pytest.mark.parametrize("composition", ["multiply", "scale"])
def test_weights_that_start_at_zero_get_no_factor(composition, rng):
    target = make_normalized()
    hyper = Hypernetwork(target, generator=chunks(), composition=composition)
    assert list(hyper.generated_weights) == ["a/kernel", "norm/gamma", "b/kernel"]
    reason = f"starts at zero, which composition={composition!r} cannot change"
    assert hyper.ordinary_reasons["norm/beta"] == reason
    hyper.compile("sgd", "mse")
    hyper.fit(rng.normal(size=(4, 5)).astype("float32"), np.ones((4, 3)), verbose=0)
    assert np.abs(to_numpy(target.get_layer("b").bias.value)).max() > 0
    with pytest.raises(ValueError, match=r"names 'b/bias', which starts at zero.*'add'"):
        Hypernetwork(target, generator=chunks(), composition=composition, include=["b/bias"])


def test_kernels_start_with_the_deviation_of_their_initializer():
    target = keras.Sequential(
        [
            keras.Input((40,)),
            layers.Dense(60, kernel_initializer="he_normal", name="a"),
            layers.Dense(50, name="b"),
        ]
    )
    stds = []
    for seed in range(20):
        keras.utils.set_random_seed(seed)
        hyper = Hypernetwork(target, generator=chunks(20), include="*kernel", condition=4)
        weights = hyper.generate(np.random.default_rng(seed).normal(size=4).astype("float32"))
        stds.append([np.square(to_numpy(w)).mean() for w in weights.values()])
    expected = np.sqrt([2 / 40, 2 / 110])
    np.testing.assert_allclose(np.sqrt(np.mean(stds, axis=0)), expected, rtol=0.1)


class Plain(layers.Layer):
    """Weights without an initializer."""

    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(shape[-1], 60))
        self.row = self.add_weight(name="row", shape=(60,))

    def call(self, inputs):
        return inputs @ self.table + self.row


def test_matrices_without_an_initializer_start_as_glorot_uniform():
    target = keras.Sequential([keras.Input((40,)), Plain(name="plain")])
    hyper = Hypernetwork(target, LinearGenerator(4), include="*table")
    table = to_numpy(hyper.generate()["plain/table"])
    np.testing.assert_allclose(table.std(), np.sqrt(2 / (40 + 60)), rtol=0.1)
    assert np.abs(table - to_numpy(target.layers[0].table)).max() > 0.1


def test_vectors_without_an_initializer_start_as_they_are():
    target = keras.Sequential([keras.Input((40,)), Plain(name="plain")])
    hyper = Hypernetwork(target, LinearGenerator(4), include="*row")
    row = to_numpy(hyper.generate()["plain/row"])
    np.testing.assert_array_equal(row, to_numpy(target.layers[0].row))


def test_kernels_of_several_input_axes_start_with_the_deviation_of_the_layer():
    dense = layers.EinsumDense("abcd,cde->abe", (None, 40), name="dense")
    target = keras.Sequential([keras.Input((2, 20, 30)), dense])
    hyper = Hypernetwork(target, LinearGenerator(4))
    kernel = to_numpy(hyper.generate()["dense/kernel"])
    np.testing.assert_allclose(kernel.std(), to_numpy(dense.kernel).std(), rtol=0.1)


def test_frozen_weights_are_changed_but_never_replaced():
    target = make_dense()
    target.get_layer("a").trainable = False
    hyper = Hypernetwork(target, generator=chunks())
    assert list(hyper.generated_weights) == ["b/kernel", "b/bias"]
    assert set(hyper.ordinary_reasons.values()) == {
        "is frozen, and composition='replace' would discard its value"
    }
    assert not any(v.trainable for v in hyper.runner.ordinary.values())
    assert not target.get_layer("a").trainable
    with pytest.raises(ValueError, match="names 'a/kernel', which is frozen"):
        Hypernetwork(target, generator=chunks(), include=["a/kernel"])
    target = make_dense()
    target.trainable = False
    assert (
        list(Hypernetwork(target, generator=chunks(), composition="add").generated_weights) == DENSE
    )
    assert not target.trainable


@pytest.mark.parametrize("base_trainable", [False, True])
def test_the_base_is_trained_if_asked_for(base_trainable, rng):
    target = make_dense()
    hyper = Hypernetwork(
        target, generator=chunks(), composition="add", base_trainable=base_trainable
    )
    before = to_numpy(target.get_layer("a").kernel.value).copy()
    hyper.compile("sgd", "mse")
    hyper.fit(rng.normal(size=(4, 5)).astype("float32"), np.ones((4, 3)), verbose=0)
    moved = np.abs(to_numpy(target.get_layer("a").kernel.value) - before).max()
    assert (moved > 0) == base_trainable


def test_the_summary_shows_the_split(capsys):
    tiles = TiledKernelGenerator(tile=(4, 4), embedding_dim=2, name="tiles")
    hyper = Hypernetwork(make_dense(), generator=tiles, include="*kernel")
    figures = summary(hyper)
    assert [(w.layer, w.weight) for w in figures.weights] == [("a", "kernel"), ("b", "kernel")]
    assert figures.ordinary == {"a/bias": "not included", "b/bias": "not included"}
    assert figures.generated == 48
    assert figures.stored == hyper.count_params()
    assert figures.plain == make_dense().count_params()
    assert "a/bias stays ordinary: not included" in capsys.readouterr().out


def test_the_summary_tells_kept_weights_apart(capsys):
    target, tasks = make_dense(), TaskEmbedding(3, 2)
    hyper = Hypernetwork(target, generator=chunks(), condition=tasks, output_regularization=0.1)
    figures = summary(hyper)
    assert figures.kept == 3 * (57 + 2 + 1)
    assert figures.plain == 57 + 6  # The target's weights, and the embeddings of the tasks.
    assert f"kept of tasks {figures.kept})" in capsys.readouterr().out


X = np.ones((4, 5), "float32")


def one(**kwargs):
    return Hypernetwork(make_dense(), **{"generator": chunks(), **kwargs})


def with_condition():
    inputs, condition = keras.Input((5,)), keras.Input((3,))
    return keras.Model([inputs, condition], one(condition=3)(inputs, condition=condition))


def per_task():
    return Hypernetwork(
        make_normalized(), chunks(), condition=TaskEmbedding(2, 3), state_per_task=True
    )


class Unbuildable(keras.Model):
    def call(self, inputs):
        raise RuntimeError("no way")


class Vocabulary(layers.Layer):
    """Stands for Keras's, which need TensorFlow to be made."""

    def save_assets(self, directory):
        """Writes what is not in the configuration."""


REFUSED = {
    "target": (lambda: Hypernetwork("resnet"), TypeError, "must be a Keras model or layer"),
    "vocabulary": (
        lambda: Hypernetwork(keras.Sequential([Vocabulary(), layers.Dense(2)])),
        ValueError,
        "vocabulary",
    ),
    "unbuildable": (lambda: Hypernetwork(Unbuildable())(X), ValueError, "cannot be built.*no way"),
    "generator": (lambda: one(generator="tiles"), TypeError, "must be a keras_hyper Generator"),
    "no generators": (lambda: one(generator={}), ValueError, "empty dict"),
    "unused pattern": (
        lambda: one(generator={"*": chunks(), "c/*": chunks()}),
        ValueError,
        r"select no included weight: \['c/\*'\]",
    ),
    "pattern": (lambda: one(include="*conv*"), ValueError, "matches no weight.*a/kernel, a/bias"),
    "type": (lambda: one(include=layers.Conv2D), ValueError, "matches no weight"),
    "include": (lambda: one(include=3), TypeError, "must be a path pattern"),
    "composition": (lambda: one(composition="mul"), ValueError, "`composition` must be one of"),
    "nothing": (
        lambda: one(generator=TiledKernelGenerator((3, 3, 4, 4))),
        ValueError,
        "No weight of the target can be generated:\n- a/kernel: Tiled",
    ),
    "condition": (lambda: one(condition="tasks"), TypeError, "`condition` must be None, the width"),
    "width 0": (lambda: one(condition=0), ValueError, "positive integer"),
    "no parts": (lambda: one(condition=[]), ValueError, "at least one part"),
    "missing": (
        lambda: one(condition=3)(X),
        ValueError,
        r"needs a `condition`: a tensor of width 3",
    ),
    "unwanted": (
        lambda: one()(X, condition=np.ones(3)),
        ValueError,
        "was made without a condition",
    ),
    "width": (
        lambda: one(condition=3)(X, condition=np.ones(2, "float32")),
        ValueError,
        r"must have shape \(batch, 3\).*Received: `condition` of shape \(2,\).*condition=3",
    ),
    "rank": (
        lambda: one(condition=3)(X, condition=np.ones((1, 4, 3), "float32")),
        ValueError,
        "must have shape",
    ),
    "integers": (
        lambda: one(condition=3)(X, condition=np.ones(3, "int32")),
        TypeError,
        "must be floating point",
    ),
    "rows": (
        lambda: one(condition=3)(X, condition=np.ones((3, 3), "float32")),
        ValueError,
        r"conditions for 3 samples, and inputs of batch size \[4\]",
    ),
    "task": (
        lambda: one(condition=TaskEmbedding(3, 2))(X, condition=3),
        ValueError,
        r"`ids` must be in \[0, 2\]",
    ),
    "task at": (
        lambda: one(condition=TaskEmbedding(3, 2)).at(3),
        ValueError,
        r"`ids` must be in \[0, 2\]",
    ),
    "number of values": (
        lambda: one(condition=[3, 2])(X, condition=np.ones(3, "float32")),
        ValueError,
        "a list of 2 values",
    ),
    "unequal parts": (
        lambda: one(condition=[TaskEmbedding(3, 2), 2])(
            X, condition=[[0, 1, 2], np.ones((4, 2), "float32")]
        ),
        ValueError,
        r"must have the same batch size. Received: batch sizes \[3, 4\]",
    ),
    "noise": (
        lambda: one(condition=NoiseCondition(2, shared=True))(X, condition=3),
        ValueError,
        "must be None if all its parts are noise. Received: condition=3",
    ),
    "at nothing": (lambda: one().at(1), ValueError, "takes no condition"),
    "at rows": (
        lambda: one(condition=TaskEmbedding(3, 2)).at([0, 1]),
        ValueError,
        "must be one condition",
    ),
    "bake rows": (
        lambda: one(condition=TaskEmbedding(3, 2)).bake([0, 1]),
        ValueError,
        "row for each sample",
    ),
    "bake without": (
        lambda: bake(one(condition=3)),
        ValueError,
        r"needs a `condition` to be baked: a tensor of width 3.*hyper.bake\(condition=",
    ),
    "bake a part": (
        lambda: bake(with_condition()),
        ValueError,
        r"needs a `condition` to be baked: a tensor of width 3",
    ),
    "state": (
        lambda: one(condition=3, state_per_task=True),
        ValueError,
        "`state_per_task=True` needs tasks",
    ),
    "strength": (
        lambda: one(condition=TaskEmbedding(2, 2), output_regularization=-1),
        ValueError,
        "at least 0",
    ),
    "strength of nothing": (
        lambda: one(condition=TaskEmbedding(2, 2), output_regularization=float("nan")),
        ValueError,
        "finite number",
    ),
    "kept": (lambda: one(condition=3, output_regularization=1), ValueError, "needs condition="),
    "end": (lambda: one(condition=3).end_task(), ValueError, "keeps no weights"),
    "end unknown": (
        lambda: one(condition=TaskEmbedding(2, 2), output_regularization=1).end_task(2),
        ValueError,
        r"must be in \[0, 1\]",
    ),
    "end Boolean": (
        lambda: one(condition=TaskEmbedding(2, 2), output_regularization=1).end_task(True),
        ValueError,
        r"must be in \[0, 1\]. Received: task=True",
    ),
    "at None": (
        lambda: one(condition=TaskEmbedding(3, 2)).at(None),
        ValueError,
        "must be task ids below 3. Received: condition=None",
    ),
    "apply no dict": (lambda: one().apply([1], X), TypeError, "must be a dict from path to tensor"),
    "apply a task": (
        lambda: one().apply({}, X, task=1),
        ValueError,
        "takes none without",
    ),
    "apply an unknown task": (
        lambda: per_task().apply(per_task().generate(0), X, task=3),
        ValueError,
        r"`ids` must be in \[0, 1\]",
    ),
    "apply several tasks": (
        lambda: per_task().apply(per_task().generate(0), X, task=[0, 1, 1, 0]),
        ValueError,
        "must be one id for one set",
    ),
    "apply": (
        lambda: one().apply({"a/kernel": np.ones((5, 6)), "c": 1}, X),
        ValueError,
        r"Missing: \['a/bias', 'b/bias', 'b/kernel'\]. Unknown: \['c'\]",
    ),
    "apply shape": (
        lambda: one(include="a/bias").apply({"a/bias": np.ones(5)}, X),
        ValueError,
        r"must have shape \(6,\)",
    ),
    "unbuilt": (
        lambda: Hypernetwork(keras.Sequential([layers.Dense(2)])).generate(),
        ValueError,
        "is not built. Call it on inputs first",
    ),
    "unsaved function": (
        lambda: Hypernetwork(layers.Dense(2), include=lambda path, v: True).get_config(),
        ValueError,
        "was not built",
    ),
    "scalar": (
        lambda: Hypernetwork(make_dense(), LowRankGenerator(2), condition=NoiseCondition(2)).apply(
            {}, X
        ),
        ValueError,
        "Missing",
    ),
    "native": (
        lambda: Hypernetwork(make_dense(), TemplateGenerator(2), include=["a/kernel"]).at(0),
        ValueError,
        "takes no condition",
    ),
    "linear": (
        lambda: Hypernetwork(make_dense(), LinearGenerator(1), condition=3, include=["a/kernel"]),
        ValueError,
        "was named to be generated, and cannot be: An embedding of one number",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case):
    attempt, error, message = case
    with pytest.raises(error, match=f"(?s){message}"):
        attempt()
