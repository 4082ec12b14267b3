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
# # Quickstart: layers whose weights are generated
#
# A hypernetwork is a network that makes the weights of another one. Here one small
# *generator* makes the kernels of three convolutions. We train it on real
# handwritten digits, look at what it stores, at the kernels it makes, and turn it
# into an ordinary Keras model. Takes about a minute on two CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_hyper
from keras_hyper import (
    HyperConv2D,
    HyperDense,
    LinearGenerator,
    TaskEmbedding,
    TiledKernelGenerator,
    visualize,
)

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Data
#
# 1,797 digits of 8 x 8 pixels that ship with scikit-learn. With a network connection the 28 x 28
# pixels of MNIST do as well (`pip install tensorflow-datasets`): leave out the division by 16 and
# the `reshape` below, and write `keras.Input((28, 28, 1))` in both models.
#
# ```python
# import tensorflow_datasets as tfds
#
# data = tfds.as_numpy(tfds.load("mnist", split="train", batch_size=-1))
# images, labels = data["image"] / 255.0, data["label"]
# ```

# %%
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, random_state=1, stratify=labels)

fig, axes = plt.subplots(1, 8, figsize=(8, 1.3))
for axis, image, label in zip(axes, x, y, strict=False):
    axis.imshow(image[..., 0], cmap="gray_r")
    axis.set_title(label)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## A model
#
# `HyperConv2D` takes the arguments of `keras.layers.Conv2D`, and a `generator`. The
# same generator goes into all three layers. It makes kernels from *tiles* of
# 3 x 3 x 8 x 8; larger kernels are grids of tiles, each from an embedding of its own.
#
# `HyperDense` without a generator has a small one of its own.

# %%
kernels = TiledKernelGenerator(tile=(3, 3, 8, 8), embedding_dim=32, name="kernels")
options = {"padding": "same", "activation": "relu", "generator": kernels}
model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.GaussianNoise(0.1),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.BatchNormalization(momentum=0.9),
        HyperConv2D(32, 3, **options, name="first"),
        layers.MaxPooling2D(),
        layers.BatchNormalization(momentum=0.9),
        HyperConv2D(64, 3, **options, name="second"),
        layers.BatchNormalization(momentum=0.9),
        HyperConv2D(64, 3, **options, name="third"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dropout(0.4),
        HyperDense(10, activation="softmax", name="last"),
    ]
)
figures = keras_hyper.summary(model)
assert figures.ratio < 0.5

# %% [markdown]
# ## Training
#
# As any Keras model. `jit_compile=True` works, too.

# %%
updates = 30 * -(-len(x) // 64)
model.compile(
    optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(4e-3, updates)),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(x, y, batch_size=64, epochs=30, validation_data=(x_test, y_test), verbose=0)
loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy {accuracy:.1%} with {figures.stored:,} stored parameters")
assert accuracy > 0.97

# %%
plt.figure(figsize=(5, 3))
plt.plot(history.history["accuracy"], label="training")
plt.plot(history.history["val_accuracy"], label="test")
plt.xlabel("epoch")
plt.ylabel("accuracy")
plt.ylim(0.8, 1.0)
plt.legend()
plt.tight_layout()
plt.show()

# %% [markdown]
# ## The kernels
#
# `generate` returns the weights that a layer uses now. They are values: made when
# needed, stored nowhere. `visualize` draws them, a square of 3 x 3 weights for each pair of an
# input and an output channel (here the first 8 of 32 channels each, one tile of the generator), and
# who draws from which generator.

# %%
kernel = keras.ops.convert_to_numpy(model.get_layer("first").generate()["kernel"])
print("kernel", kernel.shape)
visualize.kernels(model.get_layer("first"))
plt.show()
visualize.sharing(model)
plt.show()

# %% [markdown]
# ## Saving
#
# A `.keras` file keeps the shared generator shared. For serving, `bake` makes an
# ordinary Keras model, and `export` a SavedModel that needs neither this package nor
# Keras.

# %%
model.save("digits.keras")
reloaded = keras.models.load_model("digits.keras")
assert reloaded.get_layer("first").generator is reloaded.get_layer("third").generator
np.testing.assert_array_equal(reloaded.predict(x_test, verbose=0), model.predict(x_test, verbose=0))

plain = keras_hyper.bake(model)
print([type(layer).__name__ for layer in plain.layers])
difference = np.abs(plain.predict(x_test, verbose=0) - model.predict(x_test, verbose=0)).max()
print(f"largest difference between baked and generated: {difference:.1e}")
assert difference < 1e-5

# %%
plain.export("digits_saved_model", verbose=False)

# %% [markdown]
# ## Different weights for every sample
#
# Called with a `condition`, a layer has a weight set for each row of it. Here two tasks
# contradict each other: read the digit, or read nine minus the digit. One network does
# both, because its last layer is generated from the task. A `LinearGenerator` stores more than
# the weights it makes, and lets them depend on the task as they please.

# %%
inputs, task = keras.Input((8, 8, 1)), keras.Input((), dtype="int32")
features = layers.Flatten()(layers.Conv2D(32, 3, strides=2, activation="relu")(inputs))
condition = TaskEmbedding(num_tasks=2, dim=8)(task)
last = HyperDense(10, activation="softmax", generator=LinearGenerator(embedding_dim=8))
outputs = last(features, condition=condition)
both = keras.Model([inputs, task], outputs)
both.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])


def with_both_tasks(x, y):
    tasks = np.repeat([0, 1], len(x)).astype("int32")
    return [np.concatenate([x, x]), tasks], np.concatenate([y, 9 - y])


both.fit(*with_both_tasks(x, y), batch_size=64, epochs=20, verbose=0)
accuracy = both.evaluate(*with_both_tasks(x_test, y_test), verbose=0)[1]
print(f"test accuracy over both tasks {accuracy:.1%}")
assert accuracy > 0.93
