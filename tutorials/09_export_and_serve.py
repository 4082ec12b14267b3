# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Export and serve
#
# A model with generated weights, from training to a process that has neither this package nor
# Keras: a SavedModel with folded weights and an endpoint for XLA, a recurrent model that streams, a
# server that keeps the weights of each user, and a file for phones. Takes about a minute on two
# CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

from keras_hyper import (
    HyperConv2D,
    HyperDense,
    HyperLSTM,
    Hypernetwork,
    TaskEmbedding,
    TiledKernelGenerator,
    export_saved_model,
)
from keras_hyper.export import export_file

keras.utils.set_random_seed(1)
folder = pathlib.Path(tempfile.mkdtemp())

# %% [markdown]
# ## A classifier
#
# One generator makes the kernels of both convolutions. The data are the 1,797 digits that ship with
# scikit-learn; with a network connection, those of TensorFlow Datasets do as well:
#
# ```python
# import tensorflow_datasets as tfds
#
# data = tfds.as_numpy(tfds.load("mnist", split="train", batch_size=-1))
# x, y = data["image"] / 255.0, data["label"]
# ```

# %%
x, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(x))
x, y = (x[order] / 16).reshape(-1, 8, 8, 1).astype("float32"), y[order]
kernels = TiledKernelGenerator(tile=(3, 3, 16, 16), embedding_dim=32, name="kernels")
model = keras.Sequential(
    [
        keras.Input((8, 8, 1), name="image"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        HyperConv2D(64, 3, padding="same", activation="relu", generator=kernels),
        HyperConv2D(64, 3, strides=2, activation="relu", generator=kernels),
        layers.Flatten(),
        HyperDense(10),
    ]
)
model.compile(
    "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
)
model.fit(x[:1400], y[:1400], epochs=15, verbose=0)
accuracy = model.evaluate(x[1400:], y[1400:], verbose=0)[1]
print(f"{accuracy:.1%} of the test images")
assert accuracy > 0.9

# %% [markdown]
# `export_saved_model` stores the kernels as they are now and leaves the generator out. It says
# which endpoints it wrote, and what each takes.

# %%
exported = export_saved_model(model, folder / "digits")
print(exported.inputs)

# %% [markdown]
# A process in which neither Keras nor this package can be imported reads it and agrees. Any program
# that has TensorFlow can do this, in any language; so do TensorFlow Serving and Triton.

# %%
program = """
import sys
sys.modules["keras"] = sys.modules["keras_hyper"] = None
import numpy as np
import tensorflow as tf

served = tf.saved_model.load(sys.argv[1])
x, expected = np.load(sys.argv[2]), np.load(sys.argv[3])
for name in ("serving_default", "serve_xla"):
    outputs = served.signatures[name](image=tf.constant(x))["outputs"]
    print(name, "differs by", np.abs(outputs - expected).max())
"""
np.save(folder / "x.npy", x[1400:1500])
np.save(folder / "expected.npy", model.predict(x[1400:1500], verbose=0))
files = [folder / "digits", folder / "x.npy", folder / "expected.npy"]
told = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True)
print(told.stdout)
assert told.stdout.count("differs by") == 2

# %% [markdown]
# ## Streaming
#
# A recurrent model gets two more endpoints: the states that a sequence starts with, and one step
# with all states as inputs and outputs. The server remembers nothing: whoever calls keeps the
# states. Here the model listens to a slow wave, one number at a time.

# %%
listener = keras.Sequential(
    [
        keras.Input((None, 1), name="number"),
        HyperLSTM(16, hyper_units=8, return_sequences=True),
        layers.Dense(1),
    ]
)
rng = np.random.default_rng(0)
phase = rng.uniform(0, 6, (256, 1)) + np.arange(41) * rng.uniform(0.1, 0.5, (256, 1))
waves = np.sin(phase).astype("float32")[..., None]
listener.compile(keras.optimizers.Adam(0.01), "mse")
listener.fit(waves[:, :-1], waves[:, 1:], epochs=30, verbose=0)

export_saved_model(listener, folder / "listener")
stream = tf.saved_model.load(folder / "listener").signatures
states = stream["initial_state"](batch_size=tf.constant(1))
guesses = []
for number in waves[0, :-1]:
    outputs = stream["step"](number=tf.constant(number[None]), **states)
    states = {name: outputs[f"next_{name}"] for name in states}
    guesses.append(float(outputs["outputs"][0, 0]))
whole = listener(waves[:1, :-1])[0, :, 0]
assert np.allclose(guesses, whole, atol=1e-5)

plt.figure(figsize=(7, 2.5))
plt.plot(np.arange(1, 41), waves[0, 1:, 0], label="the wave")
plt.plot(np.arange(1, 41), guesses, ".", label="guessed one step before")
plt.xlabel("step")
plt.ylabel("value")
plt.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2)
plt.tight_layout()

# %% [markdown]
# ## A server that keeps the weights of its users
#
# A conditioned model is exported in two halves: `generate` makes weights from a condition, `apply`
# uses them. A server generates the weights of a user once.

# %%
target = keras.Sequential(
    [keras.Input((64,)), layers.Dense(128, activation="relu"), layers.Dense(10)]
)
hyper = Hypernetwork(target, condition=TaskEmbedding(num_tasks=1000, dim=16))
export_saved_model(hyper, folder / "users")
users = tf.saved_model.load(folder / "users").signatures

flat = tf.constant(x[:1].reshape(1, 64))
user = tf.constant([42])
weights = users["generate"](condition=user)
outputs = users["apply"](inputs=flat, **weights)["outputs"]
assert np.allclose(outputs, hyper(flat, condition=42), atol=1e-5)


def milliseconds(call):
    """Returns the time of a call: the least of fifty."""
    times = []
    for _ in range(50):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


kept = milliseconds(lambda: users["apply"](inputs=flat, **weights))
anew = milliseconds(lambda: users["serving_default"](inputs=flat, condition=user))
print(f"weights that were kept: {kept:.2f} ms, generated at every call: {anew:.2f} ms")

# %% [markdown]
# ## A file for a phone
#
# `export_file` writes `.tflite`, `.onnx` and OpenVINO models, with the same names.

# %%
export_file(model, folder / "digits.tflite")
interpreter = tf.lite.Interpreter(str(folder / "digits.tflite"))
runner = interpreter.get_signature_runner()
assert np.allclose(runner(image=x[:3])["outputs"], model(x[:3]), atol=1e-4)
size = (folder / "digits.tflite").stat().st_size
print(f"{size / 1024:,.0f} KiB")
