"""Loads a SavedModel with TensorFlow alone, as a server does, and checks its answers.

Keras and keras_hyper cannot be imported here: generated weights are part of the
exported graph.

    python serve_alone.py SAVED_MODEL INPUTS.npy EXPECTED.npy
"""

import sys

sys.modules["keras"] = None
sys.modules["keras_hyper"] = None

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main() -> None:
    """Compares what the SavedModel answers with what the model said."""
    directory, inputs, expected = sys.argv[1:]
    inputs, expected = np.load(inputs), np.load(expected)
    serve = tf.saved_model.load(directory).signatures["serving_default"]
    (argument,) = serve.structured_input_signature[1]
    error = 0.0
    for batch in (len(inputs), 1, 7):
        (outputs,) = serve(**{argument: tf.constant(inputs[:batch])}).values()
        np.testing.assert_allclose(outputs, expected[:batch], rtol=1e-4, atol=1e-4)
        error = max(error, np.abs(outputs - expected[:batch]).max())
    print(f"served {len(inputs)} images without Keras, largest difference {error:.1e}")


if __name__ == "__main__":
    main()
