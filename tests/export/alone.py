"""Runs SavedModels in a process that has TensorFlow, and neither Keras nor this package.

    python alone.py calls.json

Each call has a folder, an endpoint, a file of inputs and one of outputs that are
expected, or None. Prints a line of JSON for each: the largest difference, or the error.
"""

import json
import sys

import numpy as np


def strings(array):
    return array.astype(object) if array.dtype.kind in "US" else array


def main():
    # Before TensorFlow, which looks for Keras.
    for name in ("keras", "keras_hyper"):
        sys.modules[name] = None
    import tensorflow as tf

    with open(sys.argv[1]) as file:
        calls = json.load(file)
    models = {}
    for call in calls:
        folder = call["folder"]
        if folder not in models:
            models[folder] = tf.saved_model.load(folder)
        inputs = {k: tf.constant(strings(v)) for k, v in np.load(call["inputs"]).items()}
        try:
            outputs = models[folder].signatures[call["endpoint"]](**inputs)
        except Exception as error:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}), flush=True)
            continue
        gap = None
        if call["expected"]:
            expected = np.load(call["expected"])
            assert set(expected) == set(outputs), (set(expected), set(outputs))
            assert all(expected[k].shape == outputs[k].shape for k in outputs)
            gaps = [np.abs(expected[k] - outputs[k].numpy()).max() for k in outputs]
            gap = float(np.max(gaps))  # NaN, if any is.
        print(json.dumps({"gap": gap}), flush=True)
    assert sys.modules["keras"] is None


if __name__ == "__main__":
    main()
