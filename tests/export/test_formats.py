"""What is refused of other formats; that they agree with Keras is tested in `deploy`."""

import keras
import numpy as np
import pytest
from keras import layers

from export.models import CASES, outputs_of
from helpers import CAN_EXPORT
from keras_hyper import HyperDense
from keras_hyper.export import export_file

if not CAN_EXPORT:
    pytest.skip("needs TensorFlow, and a backend that exports", allow_module_level=True)

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def small():
    return keras.Sequential([keras.Input((4,)), HyperDense(2)])


@pytest.mark.skipif(ON_TENSORFLOW, reason="about the other backends")
def test_other_backends_are_refused(tmp_path):
    with pytest.raises(ValueError, match="TensorFlow backend can be converted"):
        export_file(small(), tmp_path / "model.tflite")


REFUSED = {
    "ending": (small, "model.pb", {}, ValueError, "must end in '.onnx' or '.tflite'"),
    "endpoint": (
        small,
        "model.tflite",
        {"endpoint": "apply"},
        ValueError,
        "`endpoint` must be one of 'serving_default'",
    ),
    "no steps": (
        lambda: keras.Sequential([keras.Input((None, 3)), layers.Bidirectional(layers.GRU(2))]),
        "model.tflite",
        {"endpoint": "step"},
        ValueError,
        "starts at the end",
    ),
    "batch size": (small, "model.tflite", {"batch_size": 0}, ValueError, "positive integer"),
    "loop": (CASES["text"].make, "model.tflite", {}, ValueError, "Use batch_size=1, or"),
    "no model": (lambda: HyperDense(2), "model.tflite", {}, TypeError, "must be a Keras model"),
}


@pytest.mark.skipif(not ON_TENSORFLOW, reason="about the TensorFlow backend")
@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path):
    make, name, kwargs, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        export_file(make(), tmp_path / name, **kwargs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not ON_TENSORFLOW, reason="about the TensorFlow backend")
@pytest.mark.parametrize("module", ["tf2onnx", "openvino"])
def test_a_missing_converter_is_named(module, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    path = tmp_path / {"tf2onnx": "model.onnx", "openvino": "model"}[module]
    with pytest.raises(ImportError, match=f"pip install {module}"):
        export_file(small(), path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not ON_TENSORFLOW, reason="about the TensorFlow backend")
def test_a_loop_is_converted_for_one_batch_size(rng, tmp_path):
    import tensorflow as tf

    model = CASES["text"].make()
    export_file(model, tmp_path / "model.tflite", batch_size=2)
    inputs = CASES["text"].inputs(rng, 2, 5)
    runner = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    np.testing.assert_allclose(
        runner(**inputs)["outputs"], outputs_of(model, inputs)["outputs"], atol=1e-5
    )
