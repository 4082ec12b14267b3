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
# # Conditioned weights: one model for every trade-off
#
# Many losses have a knob. A variational autoencoder minimises
#
# $$\text{reconstruction error} + \beta \cdot \text{information in the code},$$
#
# and each $\beta$ is another compromise, and another training. With weights that are generated
# *from $\beta$* one training gives them all: every sample of a batch draws a $\beta$ of its own,
# and has the weights that belong to it. Takes about two minutes on two CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_hyper import HyperDense, LinearGenerator, MagnitudeInvariantEncoding, summary

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
# images = (data["image"] / 255.0).reshape(-1, 28 * 28).astype("float32")
# ```

# %%
images = (load_digits().data / 16.0).astype("float32")
x, x_test = train_test_split(images, random_state=1)
LOW, HIGH, CODE = -3.0, 1.0, 8  # Of log10(beta), and the width of the code.

# %% [markdown]
# ## An autoencoder, with `Dense` or with `HyperDense`
#
# `HyperDense` takes the condition as an argument of its call. `MagnitudeInvariantEncoding` turns a
# number between `low` and `high` into a pair of a constant length, so that no $\beta$ makes
# larger weights than another.


# %%
class Loss(keras.layers.Layer):
    """Adds the loss of a variational autoencoder and returns its two parts."""

    def call(self, pixels, outputs, mean, log_variance, log_beta):
        error = ops.sum(ops.square(pixels - outputs), axis=-1)
        information = 0.5 * ops.sum(
            ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance, axis=-1
        )
        self.add_loss(ops.mean(error + 10.0 ** log_beta[:, 0] * information))
        return ops.stack([error, information], axis=-1)


class Sample(keras.layers.Layer):
    """Draws a code."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(3)

    def call(self, mean, log_variance):
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * noise


def autoencoder(conditioned):
    """Returns a model from pixels and log10(beta) to the two parts of the loss."""
    pixels, log_beta = keras.Input((64,), name="pixels"), keras.Input((1,), name="log_beta")
    encoding = MagnitudeInvariantEncoding(LOW, HIGH)(log_beta)

    def dense(inputs, units, **kwargs):
        if not conditioned:
            return layers.Dense(units, **kwargs)(inputs)
        layer = HyperDense(
            units,
            generator=LinearGenerator(embedding_dim=4, normalize_condition=False),
            generate_bias=True,
            **kwargs,
        )
        return layer(inputs, condition=encoding)

    hidden = dense(pixels, 64, activation="relu", name="encoder")
    mean, log_variance = dense(hidden, CODE, name="mean"), dense(hidden, CODE, name="log_variance")
    code = Sample(name="code")(mean, log_variance)
    hidden = dense(code, 64, activation="relu", name="decoder")
    outputs = dense(hidden, 64, activation="sigmoid", name="outputs")
    parts = Loss(name="parts")(pixels, outputs, mean, log_variance, log_beta)
    return keras.Model([pixels, log_beta], [parts, outputs])


def train(model, log_betas, epochs):
    """Trains a model, every sample with one of the log10(beta)."""
    steps = epochs * -(-len(x) // 64)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps)))
    for part in np.array_split(log_betas, max(len(log_betas) // len(x), 1)):
        model.fit([x, part[:, None].astype("float32")], epochs=1, batch_size=64, verbose=0)
    return model


def test(model, log_beta):
    """Returns reconstruction error and information on unseen images."""
    given = np.full((len(x_test), 1), log_beta, "float32")
    return np.mean([model.predict([x_test, given], verbose=0)[0].mean(axis=0) for _ in range(3)], 0)


# %% [markdown]
# ## One training for all of them

# %%
keras.utils.set_random_seed(1)
EPOCHS = 150
rng = np.random.default_rng(1)
hyper = train(autoencoder(True), rng.uniform(LOW, HIGH, EPOCHS * len(x)), EPOCHS)
figures = summary(hyper)

# %% [markdown]
# ## Beside one training for each

# %%
betas = [-2.5, -1.5, -0.5, 0.5]
alone = {}
for log_beta in betas:
    keras.utils.set_random_seed(1)
    model = train(autoencoder(False), np.full(EPOCHS * len(x), log_beta), EPOCHS)
    alone[log_beta] = test(model, log_beta)
curve = np.array([test(hyper, b) for b in np.linspace(LOW, HIGH, 17)])

# %%
fig, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(curve[:, 1], curve[:, 0], "-", label="one model with generated weights")
for log_beta, (error, information) in alone.items():
    axes.plot(information, error, "s", label=f"trained for beta = {10**log_beta:.3g} alone")
axes.set_xlabel("information in the code (nats)")
axes.set_ylabel("reconstruction error")
axes.legend()
plt.show()

for log_beta in betas:
    error, information = test(hyper, log_beta)
    loss = error + 10**log_beta * information
    other = alone[log_beta][0] + 10**log_beta * alone[log_beta][1]
    print(f"beta {10**log_beta:.3g}: loss {loss:.2f} with generated weights, {other:.2f} alone")
    assert loss < 1.25 * other
assert (np.diff(curve[:, 1]) < 0.1).all()

# %% [markdown]
# One model, turned from a faithful copy to an average digit, by one number:

# %%
fig, axes = plt.subplots(5, 7, figsize=(7, 5.2), layout="constrained")
shown = np.linspace(LOW, HIGH, 6)
for row, image in zip(axes, x_test, strict=False):
    row[0].imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    for axis, log_beta in zip(row[1:], shown, strict=True):
        given = np.array([[log_beta]], "float32")
        picture = hyper.predict([image[None], given], verbose=0)[1]
        axis.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
for axis, title in zip(axes[0], ["image", *(f"{10**b:.3g}" for b in shown)], strict=True):
    axis.set_title(title, fontsize="small")
for axis in axes.flat:
    axis.set_axis_off()
plt.show()

# %% [markdown]
# The same mechanism serves a family of tasks (`TaskEmbedding`), a user, or what another network
# sees: any tensor can be the condition, with a row for each sample.
