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
# # Static hypernetworks: kernels from embeddings
#
# The kernel generator of Ha, Dai & Le, "HyperNetworks" (ICLR 2017), section 3.1: every layer keeps
# a short embedding $z$ of its kernel, and one small network, shared by all layers, makes kernels
# from them,
#
# $$a_i = W_i z + B_i, \qquad K_i = W_{out} a_i + B_{out},$$
#
# with one $a_i$ for each input channel $i$. Here we see what such kernels look like, how kernels of
# several sizes come out of *tiles* of one size, and what a smaller embedding costs. Takes about
# two minutes on two CPU cores.
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

from keras_hyper import HyperConv2D, TiledKernelGenerator, summary, visualize

# %% [markdown]
# ## Data
#
# 1,797 digits of 8 x 8 pixels that ship with scikit-learn. With MNIST and kernels of 7 x 7 this is
# the paper's experiment:
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

# %% [markdown]
# ## One network, twice
#
# Two convolutions of 16 channels with kernels of 5 x 5: 6,400 weights each. In the first network
# they are stored, in the second they are made from one embedding each.


# %%
def network(generator=None):
    """Returns a classifier; with a generator, its two large kernels are generated."""

    def convolution(name):
        options = {"padding": "same", "activation": "relu", "name": name}
        if generator is None:
            return layers.Conv2D(16, 5, **options)
        return HyperConv2D(16, 5, generator=generator, **options)

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.BatchNormalization(momentum=0.9),
            convolution("first"),
            layers.BatchNormalization(momentum=0.9),
            convolution("second"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(10, activation="softmax"),
        ]
    )


def train(model, epochs=15):
    """Trains a classifier and returns its test accuracy."""
    steps = epochs * -(-len(x) // 64)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model.evaluate(x_test, y_test, verbose=0)[1]


keras.utils.set_random_seed(1)
plain = network()
accuracy = train(plain)
kernels = TiledKernelGenerator(tile=(5, 5, 16, 16), embedding_dim=4, name="kernels")
generated = network(kernels)
generated_accuracy = train(generated)
print(f"stored kernels {accuracy:.1%}, generated kernels {generated_accuracy:.1%}")
figures = summary(generated)
assert generated_accuracy > 0.96
assert figures.ratio < 0.6

# %% [markdown]
# ## What the kernels look like
#
# In the picture, a row of tiles is what one input channel does to all outputs. The rows of the
# stored kernel have nothing to do with each other. Those of the generated kernel are mixtures of
# the same five: one for each number of the embedding, and a constant. `summary` said so: as a
# matrix of input channels by the rest, its rank is at most 5.

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
visualize.kernels(plain.get_layer("first").kernel, axes=axes[0])
axes[0].set_title("stored")
visualize.kernels(generated.get_layer("first"), axes=axes[1])
axes[1].set_title("generated, embedding of 4")
plt.show()


def rank(kernel):
    """Returns how many rows it takes to mix all the others from."""
    kernel = keras.ops.convert_to_numpy(kernel)
    return np.linalg.matrix_rank(kernel.transpose(2, 0, 1, 3).reshape(16, -1), tol=1e-3)


ranks = [
    rank(plain.get_layer("first").kernel),
    rank(generated.get_layer("first").generate()["kernel"]),
]
print(f"rows that all others are mixed from: stored {ranks[0]}, generated {ranks[1]}")
assert ranks[1] <= 5 < ranks[0]

# %% [markdown]
# ## From an embedding to a kernel
#
# `generate` makes the kernel from the embedding as it is now. Changing one number of the
# embedding moves all 6,400 weights at once.

# %%
layer = generated.get_layer("first")
embedding = layer.kernel_weight.embedding
trained = keras.ops.convert_to_numpy(embedding)
kernel = keras.ops.convert_to_numpy(layer.generate()["kernel"])
channel = np.square(kernel).sum(axis=(0, 1, 3)).argmax()
fig, axes = plt.subplots(1, 5, figsize=(11, 2.3), layout="constrained")
for axis, shift in zip(axes, np.linspace(-2, 2, 5), strict=True):
    embedding.assign(trained + np.array([shift, 0, 0, 0]))
    kernel = keras.ops.convert_to_numpy(layer.generate()["kernel"])
    row = kernel[:, :, channel, :4].transpose(0, 2, 1).reshape(5, -1)
    axis.imshow(row, cmap="RdBu", vmin=-0.2, vmax=0.2)
    axis.set_title(f"z[0] {shift:+.0f}")
    axis.set_xticks([2, 7, 12, 17], range(4))
    axis.set_yticks([])
    axis.set_xlabel("output channel")
embedding.assign(trained)
plt.show()

# %% [markdown]
# ## Tiles: kernels of any size from one generator
#
# A kernel with more channels is a grid of tiles, each with an embedding of its own (the paper's
# section 3.1 makes the kernels of a wide residual network so). One generator of 3 x 3 x 16 x 16
# serves layers of 16, 32 and 48 channels:

# %%
tiles = TiledKernelGenerator(tile=(3, 3, 16, 16), embedding_dim=16, name="tiles")
deep = keras.Sequential([keras.Input((8, 8, 16))])
for filters in (16, 32, 48, 48):
    options = {"generator": tiles, "padding": "same", "name": f"layer_{len(deep.layers) + 1}"}
    deep.add(HyperConv2D(filters, 3, **options))
figures = summary(deep, print_fn=lambda line: None)
print(f"{figures.stored:,} parameters store what would be {figures.plain:,}")
visualize.sharing(deep)
plt.show()
assert len(figures.generators) == 1
assert figures.ratio < 0.5

# %% [markdown]
# ## Parameters against accuracy
#
# How small can the embedding be? Each point is the mean of two trainings.

# %%
widths, seeds = [1, 2, 4, 8, 16], 2
found, stored = {}, {}
for width in [None, *widths]:
    results = []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        generator = width and TiledKernelGenerator(tile=(5, 5, 16, 16), embedding_dim=width)
        model = network(generator)
        results.append(train(model, epochs=10))
    found[width], stored[width] = np.mean(results), model.count_params()
    print(
        f"{'stored' if width is None else f'embedding of {width}'}: {stored[width]:,} parameters, "
        f"{found[width]:.1%}"
    )

# %%
fig, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot([stored[w] for w in widths], [found[w] for w in widths], "o-", label="generated kernels")
for w in widths:
    axes.annotate(f"{w}", (stored[w], found[w]), xytext=(4, -12), textcoords="offset points")
axes.plot(stored[None], found[None], "s", label="stored kernels")
axes.set_xlabel("parameters of the whole model")
axes.set_ylabel("test accuracy")
axes.legend(loc="lower right")
plt.show()
assert found[16] > found[None] - 0.02

# %% [markdown]
# The generator itself is what costs here: two layers share it. The deeper the network, the less it
# weighs. `keras_hyper.plan` looks for a generator for a given number of parameters, and notebook
# 10 compares all generators on one task.
