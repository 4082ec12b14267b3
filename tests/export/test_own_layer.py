"""A user's layer with generated weights is folded and exported in halves, like ours."""

import numpy as np
import pytest
from own_layer import bilinear

from helpers import CAN_EXPORT, to_numpy
from keras_hyper import export_saved_model

if not CAN_EXPORT:
    pytest.skip("needs TensorFlow, and a backend that exports", allow_module_level=True)

import tensorflow as tf

pytestmark = pytest.mark.xdist_group("export")
WEIGHTS = ["bilinear_bias", "bilinear_heads_0", "bilinear_heads_1"]


def exported(model, folder, **kwargs):
    found = export_saved_model(model, folder, xla=False, **kwargs)
    loaded = tf.saved_model.load(str(folder))
    loaded.signatures.keep = loaded

    def call(endpoint, **inputs):
        outputs = loaded.signatures[endpoint](**{k: tf.constant(v) for k, v in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return found, loaded, call


def test_a_static_one_is_folded(rng, tmp_path):
    model, x = bilinear(), rng.normal(size=(4, 3)).astype("float32")
    _, loaded, call = exported(model, tmp_path / "saved")
    (outputs,) = call("serving_default", inputs=x).values()
    np.testing.assert_allclose(outputs, to_numpy(model(x)), atol=1e-5)
    # Two matrices, a bias, and a dense layer; nothing of the generator.
    assert sum(np.prod(v.shape) for v in loaded.all_variables) == 20 + 6


def test_a_conditioned_one_is_exported_in_halves(rng, tmp_path):
    model = bilinear(conditioned=True)
    x, c = (rng.normal(size=(4, n)).astype("float32") for n in (3, 2))
    found, _, call = exported(model, tmp_path / "saved")
    features, condition = found.inputs["serving_default"]
    assert found.inputs["generate"] == [condition]
    weights = call("generate", **{condition: c})
    assert sorted(weights) == WEIGHTS
    (outputs,) = call("apply", **{features: x}, **weights).values()
    np.testing.assert_allclose(outputs, to_numpy(model([x, c])), atol=1e-5)
