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
# # Any model as a target: adapters that a hypernetwork makes
#
# `Hypernetwork` generates the weights of any Keras model. Here it makes *adapters*: we train an
# ordinary convolutional network on handwritten digits, freeze it, and let one small network
# generate low-rank changes of its kernels for four new tasks: the same digits, turned by
# 90 and 180 degrees, mirrored, and with black and white exchanged. In the end there is one plain
# Keras model for each task. Takes about a minute on two CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from keras_hyper import (
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    TaskEmbedding,
    bake,
    summary,
)

keras.utils.set_random_seed(1)

# %% [markdown]
# ## A model, trained as always
#
# 1,797 digits of 8 x 8 pixels that ship with scikit-learn. With a network connection any images of
# TensorFlow Datasets do as well, with their size in place of 8 x 8:
#
# ```python
# import tensorflow_datasets as tfds
#
# data = tfds.as_numpy(tfds.load("mnist", split="train", batch_size=-1))
# x, y = data["image"] / 255.0, data["label"]
# ```

# %%
x, y = load_digits(return_X_y=True)
x = (x / 16).reshape(-1, 8, 8, 1).astype("float32")
order = np.random.default_rng(0).permutation(len(x))
train, test = order[:1400], order[1400:]

base = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        layers.Conv2D(32, 3, padding="same", activation="relu", name="conv_1"),
        layers.Conv2D(64, 3, strides=2, activation="relu", name="conv_2"),
        layers.Flatten(),
        layers.Dense(128, activation="relu", name="hidden"),
        layers.Dense(10, activation="softmax", name="head"),
    ]
)
base.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
base.fit(x[train], y[train], epochs=15, verbose=0)
print(f"upright digits: {base.evaluate(x[test], y[test], verbose=0)[1]:.1%}")

# %% [markdown]
# ## Four tasks that it was not trained for

# %%
tasks = {
    "90 degrees": lambda images: np.rot90(images, axes=(1, 2)),
    "180 degrees": lambda images: np.rot90(images, 2, axes=(1, 2)),
    "mirrored": lambda images: images[:, :, ::-1],
    "inverted": lambda images: 1 - images,
}
figure, axes = plt.subplots(1, len(tasks), figsize=(8, 2))
for axis, (name, change) in zip(axes, tasks.items(), strict=True):
    axis.imshow(change(x[:1])[0, :, :, 0], cmap="gray")
    axis.set_title(name)
    axis.axis("off")

before = [base.evaluate(change(x[test]), y[test], verbose=0)[1] for change in tasks.values()]
for name, accuracy in zip(tasks, before, strict=True):
    print(f"{name:12} {accuracy:.1%}")

# %% [markdown]
# ## One hypernetwork for all of them
#
# The base is frozen. For each kernel a `LowRankGenerator` turns the vector of a task into two thin
# factors, whose product is added to the kernel: `W = W_0 + g U(c) V(c)`. The gate `g` starts
# at zero, and so does training exactly at the base model. The biases are changed likewise, by
# linear generators.

# %%
base.trainable = False
hyper = Hypernetwork(
    base,
    generator={
        "*kernel": LowRankGenerator(rank=8, embedding_dim=8),
        "*bias": LinearGenerator(embedding_dim=4),
    },
    condition=TaskEmbedding(num_tasks=len(tasks), dim=8),
    composition="add",
)
assert np.array_equal(hyper(x[:5], condition=2), base(x[:5]))
figures = summary(hyper)

# %% [markdown]
# All tasks are trained together, a batch of each in turn: `hyper.at(task)` is a Keras model that
# has the task fixed, and shares all variables. (`hyper.fit({"inputs": ..., "condition": ...}, ...)`
# takes a task for each sample; convolutions are slow with other weights for each.)

# %%
models = []
for task in range(len(tasks)):
    model = hyper.at(task)
    model.compile(
        keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    models.append(model)

rng = np.random.default_rng(1)
for _ in range(25):
    for batch in np.array_split(rng.permutation(train), 14):
        for model, change in zip(models, tasks.values(), strict=True):
            model.train_on_batch(change(x[batch]), y[batch])

after = [
    model.evaluate(change(x[test]), y[test], verbose=0)[1]
    for model, change in zip(models, tasks.values(), strict=True)
]
for name, old, new in zip(tasks, before, after, strict=True):
    print(f"{name:12} {old:.1%} -> {new:.1%}")
assert min(after) > 0.9

# %% [markdown]
# ## What is there now
#
# The base is as it was. What was trained is small, and has a file of its own; `load_adapter`
# reads it into a hypernetwork of the same arguments over the same base.

# %%
hyper.save_adapter("adapters.npz")
trained = sum(int(np.prod(v.shape)) for v in hyper.trainable_variables)
print(f"{base.count_params():,} numbers in the base, {trained:,} for all four adapters")

# %% [markdown]
# For serving, each task becomes a plain Keras model, without anything of this package.

# %%
plain = [hyper.bake(task) for task in range(len(tasks))]
for model, baked, change in zip(models, plain, tasks.values(), strict=True):
    assert np.allclose(model(change(x[:20])), baked(change(x[:20])), atol=1e-5)
assert np.allclose(bake(models[0])(x[:20]), plain[0](x[:20]), atol=1e-6)
plain[0].save("turned.keras")
[type(layer).__name__ for layer in plain[0].layers]

# %% [markdown]
# And one batch may hold samples of all tasks, each with the weights of its own:

# %%
mixed = np.concatenate([change(x[test][:1]) for change in tasks.values()])
told = hyper(mixed, condition=np.arange(len(tasks)))
np.argmax(told, axis=1), y[test][0]
