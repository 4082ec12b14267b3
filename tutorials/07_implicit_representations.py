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
# # Implicit neural representations: images as networks
#
# A *coordinate network* is an image: it takes a point $(x, y)$ and returns how bright it is there,
# at any resolution. Training one for each image takes one training for each image. A hypernetwork
# makes all of them from short codes: one training, and the codes form a space in which one can
# walk from image to image. Takes about two minutes on two CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits

from keras_hyper import Hypernetwork, LinearGenerator, visualize

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Data
#
# 1,797 digits of 8 x 8 pixels that ship with scikit-learn. With a network connection any images of
# TensorFlow Datasets do as well, with their size in place of 8 x 8:
#
# ```python
# import tensorflow_datasets as tfds
#
# data = tfds.as_numpy(tfds.load("mnist", split="train", batch_size=-1))
# images, labels = data["image"] / 255.0, data["label"]
# ```

# %%
images, labels = load_digits(return_X_y=True)
COUNT = 200
images, labels = (images[:COUNT] / 16.0).astype("float32"), labels[:COUNT]


def points(size):
    """Returns the centres of the pixels of a square image, from -1 to 1."""
    places = (np.arange(size, dtype="float32") + 0.5) / size * 2 - 1
    return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


# %% [markdown]
# ## A network of networks
#
# The target is a coordinate network with sines (Sitzmann et al., "Implicit neural representations
# with periodic activation functions", 2020). `Hypernetwork` generates all its weights from a
# condition: a row of it for each sample gives *each image its own network*, in one call. The codes
# are an ordinary Keras `Embedding`, learned together with the generator.


# %%
@keras.saving.register_keras_serializable("tutorial")
def sine(x):
    return ops.sin(2.0 * x)


coordinates = keras.Sequential(
    [
        keras.Input((None, 2)),
        layers.Dense(32, activation=sine, name="first"),
        layers.Dense(32, activation=sine, name="second"),
        layers.Dense(1, name="brightness"),
    ]
)
CODE = 16
hyper = Hypernetwork(
    coordinates,
    generator=LinearGenerator(embedding_dim=64, normalize_condition=False),
    condition=CODE,
)
codes = layers.Embedding(COUNT, CODE, embeddings_initializer="normal", name="codes")
number, place = keras.Input((), dtype="int32"), keras.Input((None, 2))
model = keras.Model([number, place], hyper(place, condition=codes(number)))
generated = sum(np.prod(weight.weight_shape) for weight in hyper.generated_weights.values())
print(f"{COUNT} networks of {generated:,} weights each, from codes of {CODE} numbers")

# %% [markdown]
# Every sample of a batch is an image: its number, its 64 points, and how bright they are.

# %%
everywhere = np.tile(points(8), (COUNT, 1, 1))
numbers = np.arange(COUNT)
model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, 6000)), "mse")
history = model.fit([numbers, everywhere], images[..., None], batch_size=20, epochs=600, verbose=0)
error = history.history["loss"][-1]
print(f"mean squared error {error:.5f}; variance of the pixels {images.var():.3f}")
assert error < 0.05 * images.var()

# %% [markdown]
# ## Finer than the data
#
# The networks are asked at 48 x 48 points, where the images have 8 x 8 pixels.


# %%
def draw(code, size=48):
    """Returns the image of a code: one set of weights for all points."""
    grid, code = ops.convert_to_tensor(points(size)[None]), ops.convert_to_tensor(code, "float32")
    return ops.convert_to_numpy(hyper(grid, condition=code)).reshape(size, size)


table = ops.convert_to_numpy(codes.embeddings)
fig, axes = plt.subplots(2, 8, figsize=(10, 2.8), layout="constrained")
for i in range(8):
    axes[0, i].imshow(images[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    axes[1, i].imshow(draw(table[i]), cmap="gray_r", vmin=0, vmax=1)
    for axis in axes[:, i]:
        axis.set_xticks([])
        axis.set_yticks([])
axes[0, 0].set_ylabel("8 x 8")
axes[1, 0].set_ylabel("48 x 48")
plt.show()

# %% [markdown]
# ## From one image to another
#
# Between two codes lie networks that no image was given for.

# %%
pairs = [(0, 1), (2, 3), (8, 9)]
fig, axes = plt.subplots(len(pairs), 9, figsize=(10, 3.6), layout="constrained")
for row, (a, b) in zip(axes, pairs, strict=True):
    for axis, share in zip(row, np.linspace(0, 1, 9), strict=True):
        axis.imshow(draw((1 - share) * table[a] + share * table[b]), cmap="gray_r", vmin=0, vmax=1)
        axis.set_axis_off()
for axis, share in zip(axes[0], np.linspace(0, 1, 9), strict=True):
    axis.set_title(f"{share:.0%}")
plt.show()
middle = draw(0.5 * table[0] + 0.5 * table[1])
assert np.abs(middle - draw(table[0])).mean() > 0.02

# %% [markdown]
# ## The space of codes
#
# The codes of the same digit lie together, though no label was ever given.

# %%
fig, axes = plt.subplots(figsize=(6, 5), layout="constrained")
visualize.embeddings(table[:80], labels[:80], axes=axes)
plt.show()
distances = np.linalg.norm(table[:, None] - table[None], axis=-1) + 1e9 * np.eye(COUNT)
same = (labels[distances.argmin(axis=1)] == labels).mean()
print(f"the nearest code is of the same digit for {same:.0%} of the images (by chance 10%)")
assert same > 0.4
