"""A row of the condition for each generated weight, and generators shared by shape."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import JIT, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    NoiseCondition,
    TaskEmbedding,
)
from keras_hyper.kernels import LowRank

WIDTH, WEIGHTS, BATCH = 3, 3, 4


def make_target():
    """Returns a perceptron with two kernels of one shape."""
    names = ("a", "b")
    hidden = [layers.Dense(5, activation="tanh", name=name) for name in names]
    return keras.Sequential([keras.Input((5,)), *hidden, layers.Dense(2, name="c")])


GENERATORS = {
    "linear": lambda: LinearGenerator(WIDTH),
    "low rank": lambda: LowRankGenerator(1, WIDTH),
    "chunked": lambda: ChunkedGenerator(4, hidden_units=(4,), embedding_dim=WIDTH),
}


def make(generator="linear", condition=WIDTH, **kwargs):
    return Hypernetwork(
        make_target(),
        GENERATORS[generator](),
        condition,
        include="*kernel",
        condition_per_weight=True,
        **kwargs,
    )


def generated(hyper, condition):
    return {path: to_numpy(weight) for path, weight in hyper.generate(condition).items()}


@pytest.fixture
def x(rng):
    return rng.normal(size=(BATCH, 5)).astype("float32")


@pytest.fixture
def rows(rng):
    return rng.normal(size=(BATCH, WEIGHTS, WIDTH)).astype("float32")


@pytest.mark.parametrize("share", [False, True], ids=["copies", "shared"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_row_makes_its_weight_alone(generator, share, x, rows):
    hyper = make(generator, share_generators=share)
    one, many = generated(hyper, rows[0]), generated(hyper, rows)
    assert list(one) == list(hyper.generated_weights) == ["a/kernel", "b/kernel", "c/kernel"]
    for path in one:
        np.testing.assert_allclose(many[path][0], one[path], rtol=1e-5, atol=1e-6)
    other = rows[0].copy()
    other[1] = rows[1][1]
    for path, weight in generated(hyper, other).items():
        changed = np.abs(weight - one[path]).max() > 1e-4
        assert changed == (path == "b/kernel")
    outputs = to_numpy(hyper(x, condition=rows))
    for i in range(BATCH):
        own = to_numpy(hyper(x, condition=rows[i]))[i]
        np.testing.assert_allclose(outputs[i], own, rtol=1e-4, atol=1e-5)
    equal = np.repeat(rows[0][:1], WEIGHTS, axis=0)
    made = generated(hyper, equal)
    same = np.allclose(made["a/kernel"], made["b/kernel"])
    # Of several pieces, each weight has learned embeddings of its own.
    assert same is (share and generator != "chunked")


def test_the_row_is_the_embedding(rows):
    hyper = make()
    (weight, *_) = hyper.generated_weights.values()
    head = weight.generator.head
    row = rows[0][0] / np.sqrt(np.mean(rows[0][0] ** 2))
    expected = weight.scale * (row @ to_numpy(head.kernel) + to_numpy(head.bias)).reshape(5, 5)
    kernel = to_numpy(hyper.generate(rows[0])["a/kernel"])
    np.testing.assert_allclose(kernel, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("generator", "share", "stored"),
    [
        ("linear", False, (WIDTH + 1) * (25 + 25 + 10)),
        ("linear", True, (WIDTH + 1) * (25 + 10)),
        ("low rank", False, (WIDTH + 1) * (10 + 10 + 7)),
        ("low rank", True, (WIDTH + 1) * (10 + 7)),
    ],
)
def test_weights_of_one_shape_store_one_generator(generator, share, stored, x, rows, tmp_path):
    hyper = make(generator, share_generators=share)
    assert hyper.count_params() == stored + 5 + 5 + 2
    first, second, third = (weight.generator for weight in hyper.generated_weights.values())
    assert (first is second) is share
    assert first is not third
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    assert again.count_params() == hyper.count_params()
    np.testing.assert_allclose(
        to_numpy(again(x, condition=rows)), to_numpy(hyper(x, condition=rows)), rtol=1e-5
    )
    names = [weight.generator.name for weight in hyper.generated_weights.values()]
    assert names[0].endswith("_5x5" if share else "_a_kernel")
    hyper.save_adapter(tmp_path / "hyper.npz")
    keras.models.clone_model(hyper).load_adapter(tmp_path / "hyper.npz")


def test_generators_of_a_dict_have_their_own_copies():
    generators = {"a": LinearGenerator(2), "*": LinearGenerator(2)}
    hyper = Hypernetwork(make_target(), generators, include="*kernel", share_generators=True)
    first, second, _ = (weight.generator for weight in hyper.generated_weights.values())
    assert first is not second


def test_weights_that_start_differently_do_not_share():
    hidden = [layers.Dense(5, name="a"), layers.Dense(5, name="b", kernel_initializer="orthogonal")]
    target = keras.Sequential([keras.Input((5,)), *hidden])
    hyper = Hypernetwork(target, LinearGenerator(2), include="*kernel", share_generators=True)
    first, second, *_ = (weight.generator for weight in hyper.generated_weights.values())
    assert first is not second
    assert first.name != second.name


def test_thin_factors_stay_thin(rows):
    hyper = make("low rank", share_generators=True)
    kernels = hyper.kernels(keras.ops.convert_to_tensor(rows))
    assert all(isinstance(kernel, LowRank) for kernel in kernels.values())


@pytest.mark.parametrize("one", [False, True], ids=["rows", "one for all"])
def test_it_trains_and_is_baked_at_a_condition(one, x, rows, rng, tmp_path):
    hyper = make("low rank", share_generators=True)
    condition = rows[0] if one else rows
    hyper.compile("sgd", "mse", jit_compile=JIT)
    data, y = {"inputs": x, "condition": condition}, rng.normal(size=(BATCH, 2))
    before = [to_numpy(v.value).copy() for v in hyper.trainable_variables]
    hyper.fit(data, y, batch_size=2, verbose=0)
    for v, old in zip(hyper.trainable_variables, before, strict=True):
        assert np.abs(to_numpy(v.value) - old).max() > 0, v.path
    expected = to_numpy(hyper(x, condition=condition))
    np.testing.assert_allclose(hyper.predict(data, verbose=0), expected, rtol=1e-5, atol=1e-6)
    hyper.at(rows[0]).save(tmp_path / "at.keras")
    loaded = keras.saving.load_model(tmp_path / "at.keras")
    for model in (hyper.at(rows[0]), hyper.bake(rows[0]), loaded):
        np.testing.assert_allclose(to_numpy(model(x))[0], expected[0], rtol=1e-4, atol=1e-5)


@keras.saving.register_keras_serializable("tests")
class Rows(layers.Layer):
    """Makes a row for each weight out of one vector, or one too few."""

    def __init__(self, count=WEIGHTS, **kwargs):
        super().__init__(**kwargs)
        self.count = count
        self.dense = layers.Dense(count * 2)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return keras.ops.reshape(self.dense(x), (-1, self.count, 2))

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.count, 2)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@pytest.mark.parametrize("batched", [False, True], ids=["one", "rows"])
def test_parts_with_and_without_a_row_for_each_weight_are_joined(batched, x, rng, tmp_path):
    parts = [TaskEmbedding(3, 1), Rows(), 1, NoiseCondition(1, seed=1, shared=True)]
    hyper = Hypernetwork(
        make_target(), LinearGenerator(5), parts, include="*kernel", condition_per_weight=True
    )
    lead = (BATCH,) if batched else ()
    vector = rng.normal(size=(*lead, 6)).astype("float32")
    rows = rng.normal(size=(*lead, WEIGHTS, 1)).astype("float32")
    values = [np.arange(BATCH) % 3 if batched else 2, vector, rows]
    assert hyper(x, condition=values).shape == (BATCH, 2)
    joined = to_numpy(hyper.condition(values))
    assert joined.shape == (*lead, WEIGHTS, 5)
    for column in (0, 4):  # The same for all weights.
        np.testing.assert_array_equal(joined[..., :1, column], joined[..., 1:2, column])
    np.testing.assert_allclose(joined[..., 3:4], rows)
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    np.testing.assert_allclose(
        to_numpy(again.condition(values))[..., :4], joined[..., :4], rtol=1e-6
    )


def test_rows_and_one_vector_for_all_samples_go_together(x, rng):
    hyper = make(condition=[TaskEmbedding(3, 1), 2])
    rows = rng.normal(size=(BATCH, WEIGHTS, 2)).astype("float32")
    np.testing.assert_allclose(
        to_numpy(hyper(x, condition=[1, rows])),
        to_numpy(hyper(x, condition=[[1] * BATCH, rows])),
        rtol=1e-5,
        atol=1e-6,
    )


X = np.ones((BATCH, 5), "float32")
WRONG = {
    "no rows": (
        lambda: make()(X, condition=np.ones(WIDTH, "float32")),
        r"must have shape \(batch, 3, 3\).*order of `generated_weights`.*shape \(3,\)",
    ),
    "too few rows": (
        lambda: make()(X, condition=np.ones((2, WIDTH), "float32")),
        r"Received: `condition` of shape \(2, 3\)",
    ),
    "another width": (
        lambda: make()(X, condition=np.ones((WEIGHTS, 2), "float32")),
        r"Received: `condition` of shape \(3, 2\)",
    ),
    "other samples": (
        lambda: make()(X, condition=np.ones((2, WEIGHTS, WIDTH), "float32")),
        "conditions for 2 samples, and inputs of batch size",
    ),
    "width of a generator": (lambda: make(condition=4), "as wide as the embeddings.*width 4"),
    "rows of a layer": (
        lambda: Hypernetwork(
            make_target(),
            LinearGenerator(2),
            Rows(2),
            include="*kernel",
            condition_per_weight=True,
        )(X, condition=X),
        r"a row for each of the 3 generated weights.*shape \(4, 2, 2\)",
    ),
    "no generator": (
        lambda: Hypernetwork(make_target(), condition=2, condition_per_weight=True),
        "needs a `generator`",
    ),
    "no condition": (
        lambda: Hypernetwork(make_target(), LinearGenerator(2), condition_per_weight=True),
        "needs a `condition`",
    ),
    "tasks that end": (
        lambda: make(condition=TaskEmbedding(2, WIDTH), output_regularization=0.1),
        "needs one condition for all weights",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_raises(case):
    call, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.tensorflow
def test_it_is_exported(x, rows, tmp_path):
    import tensorflow as tf

    from keras_hyper import export_saved_model

    hyper = make("low rank", share_generators=True)
    export_saved_model(hyper, tmp_path / "model")
    loaded = tf.saved_model.load(tmp_path / "model")
    outputs = loaded.signatures["serving_default"](
        inputs=tf.constant(x), condition=tf.constant(rows)
    )
    expected = to_numpy(hyper(x, condition=rows))
    np.testing.assert_allclose(next(iter(outputs.values())), expected, rtol=1e-4, atol=1e-5)
    assert {"generate", "apply"} <= set(loaded.signatures)
