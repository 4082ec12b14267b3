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
# # Choosing a generator, and who shares it
#
# Every generator makes weights from embeddings. They differ in what they store, in how free the
# weights are, and in whether one of them can serve layers of several shapes. Here all of them make
# the kernels of the same network. Takes about two minutes on two CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_hyper import (
    ChunkedGenerator,
    HyperConv2D,
    Hypernetwork,
    LinearGenerator,
    LowRankGenerator,
    MLPGenerator,
    TemplateGenerator,
    TiledKernelGenerator,
    plan,
    summary,
    visualize,
)

# %% [markdown]
# ## Data
#
# 1,797 digits of 8 x 8 pixels that ship with scikit-learn. With a network connection any images of
# TensorFlow Datasets do as well, with their size in place of 8 x 8:
#
# ```python
# import tensorflow_datasets as tfds
#
# data = tfds.as_numpy(tfds.load("cifar10", split="train", batch_size=-1))
# images, labels = data["image"] / 255.0, data["label"]
# ```

# %%
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, random_state=1, stratify=labels)

# %% [markdown]
# ## One network, many generators
#
# Four convolutions of 24 channels, 5,184 weights each. `generator` is what the four layers draw
# from: the same one for all, or a new one for each.


# %%
def network(generator):
    """Returns a classifier; `generator` returns what its n-th layer draws from."""
    model = keras.Sequential([keras.Input((8, 8, 1))])
    model.add(layers.Conv2D(24, 3, padding="same", activation="relu"))
    for n in range(4):
        model.add(layers.BatchNormalization(momentum=0.9))
        made, options = generator(n), {"padding": "same", "activation": "relu", "name": f"conv_{n}"}
        if made is None:
            model.add(layers.Conv2D(24, 3, **options))
        else:
            model.add(HyperConv2D(24, 3, generator=made, **options))
        if n == 1:
            model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def shared(make):
    """Returns a function that gives every layer the same generator."""
    made = []
    return lambda n: made[0] if made else made.append(make()) or made[0]


def own(make):
    """Returns a function that gives every layer a generator of its own."""
    return lambda n: make()


GENERATORS = {
    "stored kernels": lambda: own(lambda: None),
    "tiles, shared": lambda: shared(lambda: TiledKernelGenerator((3, 3, 24, 24), embedding_dim=8)),
    "small tiles, shared": lambda: shared(
        lambda: TiledKernelGenerator((3, 3, 8, 8), embedding_dim=16)
    ),
    "chunks, shared": lambda: shared(
        lambda: ChunkedGenerator(216, hidden_units=(16,), embedding_dim=16)
    ),
    "templates, shared": lambda: shared(lambda: TemplateGenerator(2)),
    "low rank, own": lambda: own(lambda: LowRankGenerator(4, embedding_dim=4)),
    "low rank, shared": lambda: shared(lambda: LowRankGenerator(8, embedding_dim=4)),
    "linear, shared": lambda: shared(lambda: LinearGenerator(embedding_dim=2)),
    "perceptron, shared": lambda: shared(
        lambda: MLPGenerator((3,), activation="tanh", embedding_dim=4)
    ),
}

# %% [markdown]
# ## Parameters, accuracy, time
#
# Ten epochs each, two seeds. The time is that of the fastest epoch, beside that of stored kernels.
# After training, `bake` makes all of them the same ordinary network: they differ in training only.


# %%
class Clock(keras.callbacks.Callback):
    """Notes how long every epoch takes."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def measure(make, seeds=2, epochs=10):
    """Returns a trained model, mean test accuracy, and seconds of the fastest epoch."""
    accuracies, clock = [], Clock()
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = network(make())
        rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * -(-len(x) // 64))
        loss = "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=0, callbacks=[clock])
        accuracies.append(model.evaluate(x_test, y_test, verbose=0)[1])
    return model, np.mean(accuracies), min(clock.seconds)


found = {name: measure(make) for name, make in GENERATORS.items()}
first = found["stored kernels"][2]
print(f"{'':22}{'parameters':>12}{'accuracy':>10}{'time':>8}")
for name, (model, accuracy, seconds) in found.items():
    print(f"{name:22}{model.count_params():12,}{accuracy:10.1%}{seconds / first:8.2f}")
assert all(accuracy > 0.8 for _, accuracy, _ in found.values())

# %%
fig, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for i, (name, (model, accuracy, _)) in enumerate(found.items()):
    place = model.count_params(), accuracy
    axes.plot(*place, "s" if name == "stored kernels" else "o")
    offset = (6, -10 if i % 2 else 3)
    axes.annotate(name, place, xytext=offset, textcoords="offset points")
axes.set_xlabel("parameters of the whole model")
axes.set_ylabel("test accuracy, mean of two seeds")
axes.set_xlim(right=28_000)
plt.show()

# %% [markdown]
# ## Who shares
#
# A generator that is shared costs once. `visualize.sharing` draws who draws from what, and
# `summary` says in words where a generator does not fit: what it makes then has a lower rank
# than the layer could use.

# %%
visualize.sharing(found["small tiles, shared"][0])
plt.show()
figures = summary(found["tiles, shared"][0], print_fn=lambda line: None)
print("\n".join(f"{w.layer}: {limit}" for w in figures.weights for limit in w.limits))
assert any("rank" in limit for w in figures.weights for limit in w.limits)

# %% [markdown]
# ## What the kernels look like

# %%
names = ["stored kernels", "small tiles, shared", "low rank, own", "templates, shared"]
fig, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
for axis, name in zip(axes, names, strict=True):
    layer = found[name][0].get_layer("conv_1")
    visualize.kernels(layer.kernel if name == "stored kernels" else layer, axes=axis)
    axis.set_title(name)
plt.show()

# %% [markdown]
# ## By budget
#
# `plan` looks for a generator for all the weights of a model, for a number of parameters.

# %%
plain = network(own(lambda: None))
chosen = plan(plain, budget=8_000)
print(chosen)
hyper = Hypernetwork(plain, generator=chosen.generator)
print(f"{hyper.count_params():,} parameters, and {plain.count_params():,} in the network")

# %% [markdown]
# Which one for what is in the documentation, "Choosing a generator". In short: tiles for the
# convolutions of a deep network, chunks for everything else with a budget, templates where layers
# are alike, low rank for changes of a pretrained network, and a linear generator where the weights
# depend on a condition and parameters do not matter.
