"""SavedModels: their endpoints, run where there is neither Keras nor this package."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from export.models import CASES, outputs_of, small_target, static
from helpers import CAN_EXPORT, to_numpy
from keras_hyper import (
    ChunkedGenerator,
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    NoiseCondition,
    TaskEmbedding,
    export_saved_model,
)
from keras_hyper.export import Exported

if not CAN_EXPORT:
    pytest.skip("needs TensorFlow, and a backend that exports", allow_module_level=True)

import tensorflow as tf

pytestmark = pytest.mark.xdist_group("export")
ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs TensorFlow's own functions"
)
# As two programs of the same sums, at outputs of size 1.
CLOSE = 1e-5


def alone(calls, folder):
    """Runs calls in a process of their own; returns what they print."""
    listed = []
    for i, (path, endpoint, inputs, expected) in enumerate(calls):
        np.savez(folder / f"{i}_inputs.npz", **inputs)
        if expected is not None:
            np.savez(folder / f"{i}_expected.npz", **expected)
        listed.append(
            {
                "folder": str(path),
                "endpoint": endpoint,
                "inputs": str(folder / f"{i}_inputs.npz"),
                "expected": expected and str(folder / f"{i}_expected.npz"),
            }
        )
    (folder / "calls.json").write_text(json.dumps(listed))
    program = pathlib.Path(__file__).with_name("alone.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, program, folder / "calls.json"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def opened(path):
    """Returns a SavedModel, and a function that calls its endpoints with arrays."""
    loaded = tf.saved_model.load(str(path))
    loaded.signatures.keep = loaded  # Signatures do not keep their variables alive.

    def call(endpoint, **inputs):
        outputs = loaded.signatures[endpoint](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return loaded, call


def signatures(model, path, **kwargs):
    return export_saved_model(model, path, **kwargs), opened(path)[1]


@dataclasses.dataclass(frozen=True)
class Export:
    """A model, and its SavedModel in a folder and loaded."""

    model: keras.Model
    exported: Exported
    path: pathlib.Path
    loaded: Any
    call: Callable[..., dict]


# In one process, where the exports are made once.
with_all_exports = pytest.mark.xdist_group("served")


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Returns a function that exports a case once for all tests."""
    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def export(case):
        model, path = CASES[case].make(), folder / case.replace(" ", "_")
        return Export(model, export_saved_model(model, path), path, *opened(path))

    return export


@pytest.fixture(scope="module")
def served(exports, tmp_path_factory):
    """Calls every export alone: results by case, endpoint, batch and length."""
    calls, keys = [], []
    for name, case in CASES.items():
        export, rng = exports(name), np.random.default_rng(1)
        path = export.path
        assert set(export.exported.inputs) == set(case.endpoints), export.exported
        for batch, length in ((1, 4), (7, 6), (2, 1)):
            inputs = case.inputs(rng, batch, length)
            expected = outputs_of(export.model, inputs)
            for endpoint in ("serving_default", "serve_xla"):
                calls.append((path, endpoint, inputs, expected))
                keys.append((name, endpoint, batch))
        for endpoint, function in export.loaded.signatures.items():
            specs = function.structured_input_signature[1]
            zeros = {
                n: np.zeros([2 if d is None else d for d in spec.shape], spec.dtype.as_numpy_dtype)
                for n, spec in specs.items()
            }
            for key, x in zeros.items():
                for rank, wrong in (("more", x[..., None]), ("less", x[0] if x.ndim else None)):
                    if wrong is not None:
                        calls.append((path, endpoint, {**zeros, key: wrong}, None))
                        keys.append((name, "wrong rank", (endpoint, key, rank)))
        # Still alive.
        calls.append((path, "serving_default", inputs, expected))
        keys.append((name, "after", 0))
    return dict(zip(keys, alone(calls, tmp_path_factory.mktemp("calls")), strict=True))


@with_all_exports
@pytest.mark.parametrize("endpoint", ["serving_default", "serve_xla"])
@pytest.mark.parametrize("case", CASES)
def test_an_export_without_this_package_equals_the_model(case, endpoint, served):
    for batch in (1, 7, 2):
        assert served[case, endpoint, batch]["gap"] < CLOSE, batch


@with_all_exports
@pytest.mark.parametrize("case", CASES)
def test_a_wrong_rank_is_refused_and_the_process_lives_on(case, served):
    refused = {key[2]: r for key, r in served.items() if key[:2] == (case, "wrong rank")}
    assert {endpoint for endpoint, *_ in refused} == set(CASES[case].endpoints)
    for call, result in refused.items():
        assert result["error"] == "InvalidArgumentError", (call, result)
    assert served[case, "after", 0]["gap"] < CLOSE


@with_all_exports
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("endpoint", ["serving_default", "serve_xla"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "text"])
def test_a_bad_row_harms_no_other(case, endpoint, bad, exports, rng):
    call, inputs = exports(case).call, CASES[case].inputs(rng, 3, 4)
    good = call(endpoint, **inputs)
    for name, x in inputs.items():
        if x.dtype == np.float32:
            rows = np.where(np.arange(3).reshape(-1, *(1 for _ in x.shape[1:])) == 1, bad, x)
            outputs = call(endpoint, **{**inputs, name: rows.astype("float32")})
            for key, value in outputs.items():
                np.testing.assert_allclose(value[[0, 2]], good[key][[0, 2]], atol=CLOSE)
            assert any(not np.allclose(v[1], good[key][1]) for key, v in outputs.items()), name


def compiled_functions(path):
    """Returns the names of the functions of a SavedModel that XLA must compile."""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    return [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]


@pytest.fixture(scope="module")
def without_xla(tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "saved"
    export_saved_model(CASES["static"].make(), path, xla=False)
    return path


@with_all_exports
@pytest.mark.parametrize("case", ["static", "recurrent", "by task"])
def test_the_compiled_endpoint_is_marked_in_the_file(case, exports, without_xla):
    assert compiled_functions(exports(case).path)
    # The negative control: nothing else of the SavedModel is.
    assert not compiled_functions(without_xla)


@with_all_exports
@pytest.mark.parametrize("case", ["recurrent", "text", "recurrent target"])
def test_steps_give_what_the_whole_sequence_gives(case, exports, rng):
    model, call = exports(case).model, exports(case).call
    inputs = CASES[case].inputs(rng, 3, 8)
    (name, sequences), expected = next(iter(inputs.items())), outputs_of(model, inputs)
    states = call("initial_state", batch_size=3)
    assert states
    for t in range(8):
        outputs = call("step", **{name: sequences[:, t]}, **states)
        assert {key for key in outputs if key.startswith("next_")} == {f"next_{s}" for s in states}
        states = {key: outputs[f"next_{key}"] for key in states}
        for key, whole in expected.items():
            if whole.ndim == 3:
                np.testing.assert_allclose(outputs[key], whole[:, t], atol=CLOSE)
    for key, whole in expected.items():
        np.testing.assert_allclose(
            outputs[key], whole[:, -1] if whole.ndim == 3 else whole, atol=CLOSE
        )
    # Rows are sequences of their own: in another order they give the same.
    order = [2, 0, 1]
    mixed = call("step", **{name: sequences[order, 0]}, **{k: v[order] for k, v in states.items()})
    plain = call("step", **{name: sequences[:, 0]}, **states)
    for key, value in mixed.items():
        np.testing.assert_allclose(value, plain[key][order], atol=CLOSE)


@with_all_exports
@pytest.mark.parametrize("case", ["by task", "several inputs"])
def test_weights_are_generated_by_one_call_and_used_by_another(case, exports, rng):
    model, call = exports(case).model, exports(case).call
    inputs = CASES[case].inputs(rng, 6, 0)
    conditions = {k: inputs[k] for k in exports(case).exported.inputs["generate"]}
    others = {k: v for k, v in inputs.items() if k not in conditions}
    assert conditions
    assert others
    weights = call("generate", **conditions)
    expected = outputs_of(model, inputs)
    outputs = call("apply", **others, **weights)
    for key, value in expected.items():
        np.testing.assert_allclose(outputs[key], value, atol=CLOSE)
    # One row of weights serves a whole batch: that of one user, say.
    user = {k: np.repeat(v[3:4], 6, axis=0) for k, v in conditions.items()}
    one = {k: v[3:4] for k, v in weights.items()}
    outputs = call("apply", **others, **one)
    for key, value in outputs_of(model, {**others, **user}).items():
        np.testing.assert_allclose(outputs[key], value, atol=CLOSE)


@with_all_exports
def test_one_condition_serves_a_whole_batch(exports, rng):
    model, call = exports("by task").model, exports("by task").call
    inputs = CASES["by task"].inputs(rng, 6, 0)
    one = {k: v[2:3] if k.startswith("condition") else v for k, v in inputs.items()}
    same = {k: np.repeat(v, 6, axis=0) if len(v) == 1 else v for k, v in one.items()}
    for endpoint in ("serving_default", "serve_xla"):
        given = one if endpoint == "serving_default" else same
        outputs = call(endpoint, **given)["outputs"]
        np.testing.assert_allclose(outputs, outputs_of(model, same)["outputs"], atol=CLOSE)


def numbers(path):
    loaded = tf.saved_model.load(str(path))
    return sum(int(np.prod(v.shape)) for v in loaded.all_variables)


@ON_TENSORFLOW
def test_folded_weights_are_stored_and_nothing_generates_them(rng, tmp_path):
    model, x = static(), rng.normal(size=(3, 8, 8, 3)).astype("float32")
    _, call = signatures(model, tmp_path / "folded")
    _, live = signatures(model, tmp_path / "live", fold=False)
    for one in (call, live):
        np.testing.assert_allclose(
            next(iter(one("serving_default", image=x).values())), to_numpy(model(x)), atol=CLOSE
        )
    from keras_hyper import bake

    assert numbers(tmp_path / "folded") == bake(model).count_params()
    generator = model.layers[0].generator.count_params()
    assert (
        numbers(tmp_path / "live") >= generator + model.layers[0].kernel_weight.embedding.shape[0]
    )
    # Weights as they were when the model was exported.
    model.layers[0].kernel_weight.embedding.assign(
        2 * to_numpy(model.layers[0].kernel_weight.embedding.value)
    )
    changed = to_numpy(model(x))
    assert np.abs(next(iter(call("serving_default", image=x).values())) - changed).max() > 1e-3


@pytest.fixture(scope="module")
def looked_up(tmp_path_factory):
    """Exports models with both kinds of text layers, and calls them alone: results by kind."""
    words, folder = ["red", "green", "blue", "[end]"], tmp_path_factory.mktemp("text")
    kinds = {
        "tokens": (
            layers.StringLookup(vocabulary=words),
            np.array([["blue", "red", "?"], ["green", "[end]", "red"]]),
        ),
        "sentences": (
            layers.TextVectorization(vocabulary=words[:3]),
            np.array(["blue red ?", "green red blue"]),
        ),
    }
    calls = []
    for kind, (lookup, text) in kinds.items():
        model = CASES["text"].make()
        exported = export_saved_model(model, folder / kind, text=lookup)
        assert exported.inputs["serve_text"] == ["text"]
        expected = {"outputs": to_numpy(model(to_numpy(lookup(tf.constant(text)))))}
        calls.append((folder / kind, "serve_text", {"text": text}, expected))
    return dict(zip(kinds, alone(calls, folder), strict=True))


@ON_TENSORFLOW
@pytest.mark.parametrize("kind", ["tokens", "sentences"])
def test_text_is_looked_up_in_the_graph(kind, looked_up):
    assert looked_up[kind]["gap"] < CLOSE


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_half_precision_is_single_for_the_client(policy, rng, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential(
            [
                keras.Input((None, 3)),
                HyperLSTM(4, hyper_units=3, embedding_dim=2),
                HyperDense(2),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    _, call = signatures(model, tmp_path / "saved")
    expected = to_numpy(keras.ops.cast(model(x), "float32"))
    outputs = call("serving_default", inputs=x)["outputs"]
    assert outputs.dtype == np.float32
    # Two programs may round intermediate numbers of 8 bits differently.
    np.testing.assert_allclose(outputs, expected, atol=2e-2)
    states = call("initial_state", batch_size=2)
    assert {state.dtype for state in states.values()} == {np.dtype("float32")}
    for t in range(4):
        step = call("step", inputs=x[:, t], **states)
        states = {key: step[f"next_{key}"] for key in states}
    np.testing.assert_allclose(step["outputs"], expected, atol=2e-2)


def test_names_that_python_has_for_itself(rng, tmp_path):
    a, b = keras.Input((3,), name="self"), keras.Input((3,), name="lambda")
    model = keras.Model([a, b], HyperDense(2)(a, condition=b))
    exported, call = signatures(model, tmp_path / "saved")
    assert exported.inputs["serve_xla"] == ["self_", "lambda_"]
    x, c = rng.normal(size=(2, 4, 3)).astype("float32")
    outputs = call("serve_xla", self_=x, lambda_=c)["outputs"]
    np.testing.assert_allclose(outputs, to_numpy(model([x, c])), atol=CLOSE)


@ON_TENSORFLOW
def test_an_export_draws_no_random_numbers_of_the_model(tmp_path):
    def model():
        target = keras.Sequential([keras.Input((None, 3)), layers.LSTM(4)])
        noise = NoiseCondition(3, seed=1)
        return Hypernetwork(target, ChunkedGenerator(5), condition=noise)

    x, exported, other = np.ones((2, 4, 3), "float32"), model(), model()
    other.set_weights(exported.get_weights())
    np.testing.assert_array_equal(to_numpy(exported(x)), to_numpy(other(x)))
    export_saved_model(exported, tmp_path / "saved", xla=False)  # Tries single steps.
    np.testing.assert_array_equal(to_numpy(exported(x)), to_numpy(other(x)))


def test_weights_from_noise_are_drawn_at_every_call(rng, tmp_path):
    model = Hypernetwork(small_target(), condition=NoiseCondition(3))
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="draws random numbers.*TensorFlow backend"):
            export_saved_model(model, tmp_path / "saved")
        return
    exported, call = signatures(model, tmp_path / "saved")
    assert "generate" not in exported.inputs
    x = rng.normal(size=(2, 5)).astype("float32")
    first, second = (call("serving_default", inputs=x)["outputs"] for _ in range(2))
    assert np.abs(first - second).max() > 1e-4


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = HyperDense(3)

    def call(self, inputs):
        return self.inner(inputs)


def test_a_subclassed_model_needs_a_signature(rng, tmp_path):
    model, x = Subclassed(), rng.normal(size=(2, 4)).astype("float32")
    model(x)
    with pytest.raises(ValueError, match="inputs of model .* are unknown. Pass `input_signature`"):
        export_saved_model(model, tmp_path / "saved")
    _, call = signatures(model, tmp_path / "saved", input_signature=keras.Input((4,), name="x"))
    np.testing.assert_allclose(
        call("serving_default", x=x)["outputs"], to_numpy(model(x)), atol=CLOSE
    )


def lstm(**kwargs):
    return HyperLSTM(3, hyper_units=2, embedding_dim=2, **kwargs)


def attentive():
    table = keras.initializers.RandomNormal(stddev=1.0, seed=1)
    ids = keras.Input((None,), dtype="int32")
    y = layers.Embedding(10, 8, embeddings_initializer=table)(ids)
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(2, 4)(y, y))
    return keras.Model(ids, layers.LSTM(4, return_sequences=True)(y))


def speaker():
    x, who = keras.Input((None, 3)), keras.Input((4,), name="speaker")
    y = layers.Dense(2)(layers.Concatenate()([lstm()(x), who]))
    return keras.Model([x, who], y)


def pascals():
    return layers.Normalization(mean=101325.0, variance=9.0, invert=True, axis=None)


NOT_STREAMED = {
    "attention over ids": (attentive, "looks along the time axis"),
    "a look far back": (
        lambda: [layers.Conv1D(4, 2, dilation_rate=4, padding="causal"), lstm()],
        "looks along the time axis",
    ),
    "small outputs": (
        lambda: [
            layers.Conv1D(8, 3, padding="same"),
            layers.LSTM(8),
            layers.Dense(3000, activation="softmax"),
        ],
        "looks along the time axis",
    ),
    "large numbers": (
        lambda: [layers.Conv1D(4, 3, padding="causal"), layers.LSTM(5), layers.Dense(2), pascals()],
        "looks along the time axis",
    ),
    "another input": (speaker, "Input 'speaker' of shape"),
    "images over time": (
        lambda: [layers.Reshape((-1, 3, 1, 1)), layers.ConvLSTM2D(2, 1)],
        "cannot be run on single steps",
    ),
    "a convolution along time": (
        lambda: [lstm(return_sequences=True), layers.Conv1D(2, 2, padding="causal")],
        "looks along the time axis",
    ),
    "pooling over time": (
        lambda: [lstm(return_sequences=True), layers.GlobalMaxPooling1D()],
        "looks along the time axis",
    ),
    "backwards": (lambda: [lstm(go_backwards=True)], "starts at the end"),
    "both directions": (lambda: [layers.Bidirectional(layers.GRU(2))], "starts at the end"),
    "no recurrent layer": (lambda: [layers.Dense(2)], "has no recurrent layers"),
}


@pytest.mark.parametrize("case", NOT_STREAMED)
def test_what_has_no_single_steps_is_exported_without_them(case, tmp_path):
    make, reason = NOT_STREAMED[case]
    made = make()
    if isinstance(made, list):
        made = keras.Sequential([keras.Input((None, 3)), *made])
    model = made
    exported = export_saved_model(model, tmp_path / "saved", xla=False)
    assert set(exported.inputs) == {"serving_default"}
    if case != "no recurrent layer":
        assert reason in exported.left_out["step"]
    with pytest.raises(ValueError, match=reason):
        export_saved_model(model, tmp_path / "again", streaming=True)
    assert not (tmp_path / "again").exists()


def test_a_fixed_length_has_no_single_steps(tmp_path):
    model = keras.Sequential([keras.Input((4, 3)), lstm()])
    exported = export_saved_model(model, tmp_path / "saved", xla=False)
    assert "keras.Input((None, features))" in exported.left_out["step"]


@pytest.mark.parametrize("conditions", ["one", "two"])
def test_a_layer_called_twice_has_one_set_of_weights_or_none(conditions, tmp_path):
    layer, x, c = HyperDense(3, name="twice"), keras.Input((3,)), keras.Input((2,))
    other = c if conditions == "one" else 2 * c
    model = keras.Model([x, c], layer(layer(x, condition=c), condition=other))
    exported = export_saved_model(model, tmp_path / "saved", xla=False)
    assert ("generate" in exported.inputs) == (conditions == "one")
    if conditions == "two":
        assert "called with two conditions" in exported.left_out["generate"]


def test_cells_on_top_of_each_other_stream(rng, tmp_path):
    cells = [layers.LSTMCell(4), layers.GRUCell(5)]
    model = keras.Sequential([keras.Input((None, 3)), layers.RNN(cells, return_sequences=True)])
    _, call = signatures(model, tmp_path / "saved", streaming=True, xla=False)
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    states, expected = call("initial_state", batch_size=2), to_numpy(model(x))
    assert len(states) == 3
    for t in range(4):
        outputs = call("step", inputs=x[:, t], **states)
        np.testing.assert_allclose(outputs["outputs"], expected[:, t], atol=CLOSE)
        states = {name: outputs[f"next_{name}"] for name in states}


def test_a_hypernetwork_at_several_conditions_keeps_them_apart(rng, tmp_path):
    hyper = Hypernetwork(small_target(), condition=TaskEmbedding(4, 3))
    inputs = keras.Input((5,))
    model = keras.Model(inputs, [hyper.at(1)(inputs), hyper.at(2)(inputs)])
    _, call = signatures(model, tmp_path / "saved", xla=False)
    x = rng.normal(size=(3, 5)).astype("float32")
    outputs = call("serving_default", inputs=x)
    assert sorted(outputs) == model.output_names
    for task, name in enumerate(model.output_names, start=1):
        np.testing.assert_allclose(outputs[name], to_numpy(hyper(x, condition=task)), atol=CLOSE)


def test_a_condition_that_is_a_feature_too_cannot_be_left_out(tmp_path):
    x, c = keras.Input((3,)), keras.Input((2,))
    y = HyperDense(4)(layers.Concatenate()([x, c]), condition=c)
    for last in (layers.Dense(3000, activation="softmax"), layers.Rescaling(1.0, offset=1e5)):
        model = keras.Model([x, c], last(y))
        exported = export_saved_model(model, tmp_path / "saved", xla=False)
        assert set(exported.inputs) == {"serving_default"}
        assert "in another way than through generated" in exported.left_out["apply"]


@with_all_exports
@pytest.mark.parametrize("endpoint", ["serving_default", "serve_xla", "apply"])
def test_rows_that_do_not_match_are_refused(endpoint, exports, rng):
    call = exports("by task").call
    inputs = CASES["by task"].inputs(rng, 7, 0)
    if endpoint == "apply":
        weights = call("generate", **{k: v for k, v in inputs.items() if k != "inputs"})
        first, *_ = weights
        inputs = {"inputs": inputs["inputs"], **weights, first: weights[first][:1]}
    else:
        inputs = {k: v[:3] if k.startswith("condition") else v for k, v in inputs.items()}
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        call(endpoint, **inputs)


def test_outputs_in_structures_have_names(rng, tmp_path):
    x = keras.Input((3,))
    model = keras.Model(x, {"a": [layers.Dense(2)(x), layers.Dense(1)(x)], "b": layers.Dense(4)(x)})
    _, call = signatures(model, tmp_path / "saved", xla=False)
    data = rng.normal(size=(2, 3)).astype("float32")
    outputs, expected = call("serving_default", inputs=data), model(data)
    for name, value in {
        "a_0": expected["a"][0],
        "a_1": expected["a"][1],
        "b": expected["b"],
    }.items():
        np.testing.assert_allclose(outputs[name], to_numpy(value), atol=CLOSE)


@ON_TENSORFLOW
def test_strings_are_not_compiled(tmp_path):
    words = keras.Input((None,), dtype="string")
    ids = layers.StringLookup(vocabulary=["a", "b"])(words)
    model = keras.Model(words, layers.LSTM(2)(layers.Embedding(3, 2)(ids)))
    exported, call = signatures(model, tmp_path / "saved")
    assert "strings" in exported.left_out["serve_xla"]
    assert call("serving_default", inputs=np.array([["a", "b"]]))["outputs"].shape == (1, 2)


def alike_names():
    x = keras.Input((3,))
    return keras.Model(x, {"k y": layers.Dense(1)(x), "k_y": layers.Dense(1)(x)})


def named_condition():
    inputs = keras.Input((3,), name="condition")
    return Hypernetwork(keras.Model(inputs, layers.Dense(2)(inputs)), condition=4)


@ON_TENSORFLOW
def test_static_weights_stay_folded_where_others_are_given(tmp_path):
    from keras_hyper.export.endpoints import Endpoints

    x, c = keras.Input((40,)), keras.Input((3,))
    static = HyperDense(50, generator=ChunkedGenerator(10, (400,)), name="static")
    y = HyperDense(3, name="conditioned")(static(x), condition=c)
    build = Endpoints(keras.Model([x, c], y))
    read = build.endpoints["apply"].function.get_concrete_function().variables
    assert {id(v) for v in read}.isdisjoint(id(v.value) for v in static.generator.variables)
    live = Endpoints(keras.Model([x, c], y), fold=False)
    read = live.endpoints["apply"].function.get_concrete_function().variables
    assert {id(v) for v in read} & {id(v.value) for v in static.generator.variables}


REFUSED = {
    "outputs of one name": (alike_names, {}, ValueError, "the same name for a client"),
    "an input called condition": (named_condition, {}, ValueError, "Give them other names"),
    "no model": (lambda: HyperDense(3), {}, TypeError, "`model` must be a Keras model"),
    "not built": (lambda: keras.Sequential([HyperDense(3)]), {}, ValueError, "is not built"),
    "stateful": (
        lambda: keras.Sequential([keras.Input((None, 3), batch_size=2), lstm(stateful=True)]),
        {},
        ValueError,
        "stateful=True",
    ),
    "text of numbers": (
        small_target,
        {"text": layers.StringLookup(vocabulary=["a"])},
        ValueError,
        "for models that take ids alone",
    ),
    "text of another kind": (small_target, {"text": layers.Flatten()}, TypeError, "`text` must be"),
    "warm-up": (
        small_target,
        {"warmup": [{"x": np.ones((1, 5))}]},
        ValueError,
        r"dicts with \['inputs'\]",
    ),
    "shapes of a warm-up": (
        small_target,
        {"warmup": [{"inputs": np.ones((1, 4))}]},
        ValueError,
        r"\{'inputs': \(None, 5\)\}, where None is any size. Received: \{'inputs': \(1, 4\)\}",
    ),
}


@ON_TENSORFLOW
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    make, kwargs, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        export_saved_model(make(), tmp_path / "saved", **kwargs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["zz.keras", "model.onnx", "weights.H5", "a.b.tflite", "A.ONNX"])
def test_a_folder_named_like_a_file_is_not_written(name, tmp_path):
    with pytest.raises(ValueError, match=r"SavedModel is a folder.*Received: path="):
        export_saved_model(small_target(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "saved"
    model = Hypernetwork(small_target(), condition=TaskEmbedding(2, 3)).at(0)
    export_saved_model(model, path, xla=False)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}

    def half(module, folder, signatures):
        pathlib.Path(folder, "saved_model.pb").write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tf.saved_model, "save", half)
        with pytest.raises(OSError, match="No space"):
            export_saved_model(model, path)
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]
    export_saved_model(model, path)
    assert "serve_xla" in tf.saved_model.load(str(path)).signatures
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]
    with pytest.raises(FileNotFoundError, match="Create it first"):
        export_saved_model(model, tmp_path / "none" / "saved")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError, match="is a file"):
        export_saved_model(model, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
