"""The console script."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_hyper
from helpers import CAN_EXPORT, to_numpy
from keras_hyper import (
    AdapterMask,
    ChunkedGenerator,
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    TaskEmbedding,
)
from keras_hyper.cli import main

X = np.ones((2, 5), "float32")


def static():
    return keras.Sequential([keras.Input((5,)), HyperDense(4, name="dense")])


def by_task():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="dense")])
    return Hypernetwork(target, ChunkedGenerator(4), condition=TaskEmbedding(3, 2))


def by_numbers():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="dense")])
    return Hypernetwork(target, ChunkedGenerator(4), condition=2)


def by_both():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="dense")])
    model = Hypernetwork(
        target, ChunkedGenerator(4), condition=[TaskEmbedding(3, 2), keras.layers.Dense(2)]
    )
    model({"inputs": X, "condition": [np.zeros(2, "int32"), np.ones((2, 1), "float32")]})
    return model


def with_mask():
    target = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="dense")])
    condition = [TaskEmbedding(3, 2), AdapterMask()]
    model = Hypernetwork(target, ChunkedGenerator(4), condition=condition, composition="add")
    for weight in model.generated_weights.values():
        weight.gate.assign(1.0)
    return model


@pytest.fixture
def saved(tmp_path):
    def save(model):
        model.save(tmp_path / "model.keras")
        return str(tmp_path / "model.keras")

    return save


def test_summary(saved, capsys):
    assert main(["summary", saved(static())]) == 0
    assert "generated weights: 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "arguments", "condition"),
    [
        (static, [], None),
        (by_task, ["--condition", "2"], 2),
        (by_numbers, ["--condition", "0.5,-1"], np.array([0.5, -1], "float32")),
        (by_both, ["--condition", "1", "--condition", "3"], [1, np.array([3], "float32")]),
        (with_mask, ["--condition", "1", "--condition", "0"], [1, False]),
        (with_mask, ["--condition", "1", "--condition", "1"], [1, True]),
    ],
    ids=["static", "task", "numbers", "both", "without an adapter", "with an adapter"],
)
def test_bake(make, arguments, condition, saved, tmp_path, capsys):
    model, plain = make(), tmp_path / "plain.keras"
    assert main(["bake", saved(model), str(plain), *arguments]) == 0
    assert "plain.keras: 24 parameters" in capsys.readouterr().out
    again = keras.saving.load_model(plain)
    assert type(again.layers[0]) is layers.Dense
    expected = model(X) if condition is None else model(X, condition=condition)
    np.testing.assert_allclose(to_numpy(again(X)), to_numpy(expected), rtol=1e-5, atol=1e-6)


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"keras-hyper {keras_hyper.__version__}\n"


@pytest.mark.tensorflow
@pytest.mark.parametrize("flags", [[], ["--no-fold"]])
def test_export_folds_unless_told_otherwise(flags, saved, tmp_path):
    import tensorflow as tf

    kernels = ChunkedGenerator(2, hidden_units=(40,), embedding_dim=3)
    model = keras.Sequential([keras.Input((5,)), HyperDense(4, generator=kernels)])
    folder = tmp_path / "saved"
    assert main(["export", saved(model), str(folder), "--no-xla", *flags]) == 0
    stored = tf.saved_model.load(str(folder)).all_variables
    assert (sum(v.shape.num_elements() for v in stored) == 24) is (not flags)


@pytest.mark.skipif(not CAN_EXPORT, reason="needs TensorFlow, and a backend that exports")
def test_export(saved, tmp_path, capsys):
    import tensorflow as tf

    model = keras.Sequential([keras.Input((None, 3)), HyperLSTM(4, hyper_units=2)])
    folder = tmp_path / "saved"
    assert main(["export", saved(model), str(folder), "--no-xla", "--streaming"]) == 0
    assert "step: inputs, hyper_lstm_h" in capsys.readouterr().out
    assert set(tf.saved_model.load(str(folder)).signatures) == {
        "serving_default",
        "initial_state",
        "step",
    }
    assert main(["export", saved(static()), str(folder), "--streaming"]) == 1
    assert "has no recurrent layers" in capsys.readouterr().err


@pytest.mark.tensorflow
def test_export_to_another_format(saved, tmp_path, capsys):
    import tensorflow as tf

    path = saved(static())
    arguments = ["export", path, str(tmp_path / "model.tflite"), "--format", "litert"]
    assert main([*arguments, "--batch-size", "2"]) == 0
    assert capsys.readouterr().out == "serving_default: inputs\n"
    (details,) = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_input_details()
    assert list(details["shape"]) == [2, 5]
    assert main(["export", path, str(tmp_path / "model"), "--format", "onnx"]) == 1
    assert "must end in '.onnx'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (None, ["summary", "none.keras"], "There is no file 'none.keras'"),
        (None, ["summary", "."], "'.' is a folder"),
        (
            by_task,
            ["bake", "model.keras", "plain.keras", "--condition", "1", "--condition", "2"],
            "Parts: 1. Received: 2.",
        ),
        (by_task, ["bake", "model.keras", "plain.keras"], "needs a `condition`"),
        (by_task, ["bake", "model.keras", "plain.keras"], "Pass --condition"),
        (by_both, ["bake", "model.keras", "plain.keras"], "Pass --condition, once for each part"),
        (static, ["export", "model.keras", "folder.keras"], "path='folder.keras'"),
        (static, ["export", "model.keras", "folder.onnx"], "`--format` on the command line"),
        (by_task, ["bake", "model.keras", "plain.keras", "--condition", "3"], "`ids` must be in"),
        (
            by_task,
            ["bake", "model.keras", "plain.keras", "--condition", "1,0.5"],
            "takes integer task",
        ),
        (static, ["bake", "model.keras", "plain.keras", "--condition", "1"], "is a Sequential"),
        (static, ["bake", "model.keras", "plain.h5"], "must end in '.keras'"),
        (static, ["bake", "model.keras", "plain.KERAS"], "must end in '.keras'"),
        (static, ["export", "model.keras", "a.ONNX"], "is named like a file"),
        (static, ["export", "model.keras", "a.ONNX", "--format", "onnx"], "must end in '.onnx'"),
        (static, ["export", "model.keras", "a.Tflite", "--format", "litert"], "in '.tflite'"),
        (static, ["export", "model.keras", "a.XML", "--format", "openvino"], "must have no ending"),
        ("broken", ["summary", "model.keras"], "could not be read as a Keras model"),
    ],
)
def test_failures_are_told_and_counted(make, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if make == "broken":
        (tmp_path / "model.keras").write_bytes(b"PK")
    elif make is not None:
        make().save("model.keras")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("keras-hyper: ")
    assert message in error


@pytest.mark.parametrize("arguments", [[], ["train"], ["bake", "a.keras"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage: keras-hyper" in capsys.readouterr().err
