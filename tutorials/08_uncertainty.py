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
# # Uncertainty: weights from noise
#
# A generator with noise as its condition makes not one network but a distribution of them. Where
# there is data all of them should agree, and elsewhere they should not: the spread of their
# outputs tells what the model does not know. Takes about half a minute on two CPU cores.
#
# The recipe is that of hypermodels (Dwaracherla et al., "Hypermodels for exploration", ICLR
# 2020). The noise $z$ picks a network $f_{g(z)}$, and a *prior function*
# $p_z(x) = \sum_k z_k p_k(x)$ of a random network that is never trained. Every observation is
# disturbed by noise that goes with $z$, with one fixed random direction $a_i$ for each:
#
# $$\mathbb E_z \left(y_i + \sigma a_i^\top z - f_{g(z)}(x_i) - p_z(x_i)\right)^2 .$$
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers

from keras_hyper import Hypernetwork, LinearGenerator

keras.utils.set_random_seed(1)
rng = np.random.default_rng(1)

# %% [markdown]
# ## Data with a gap

# %%
SIGMA, NOISE = 0.1, 8
x = np.concatenate([rng.uniform(-2.0, -0.7, 40), rng.uniform(0.5, 2.0, 40)])
y = np.sin(2 * x) + SIGMA * rng.normal(size=80)
x, y = x[:, None].astype("float32"), y[:, None].astype("float32")

# %% [markdown]
# ## A hypernetwork, and a prior
#
# `condition=8`: a row of eight numbers for each sample, and so weights of its own for each. (For
# a loss that does not need to know the noise, `condition=NoiseCondition(8)` draws it inside the
# model.)

# %%
target = keras.Sequential(
    [
        keras.Input((1,)),
        layers.Dense(50, activation="tanh"),
        layers.Dense(50, activation="tanh"),
        layers.Dense(1),
    ]
)
generator = LinearGenerator(embedding_dim=NOISE, normalize_condition=False)
hyper = Hypernetwork(target, generator, condition=NOISE)

wide = keras.initializers.RandomNormal(stddev=3.0)
prior = keras.Sequential(
    [
        keras.Input((1,)),
        layers.Dense(50, activation="tanh", kernel_initializer=wide, bias_initializer=wide),
        layers.Dense(NOISE),
    ]
)
prior.trainable = False

place, noise = keras.Input((1,)), keras.Input((NOISE,))
prior_outputs = layers.Rescaling(3.0)(layers.Dot(axes=1)([prior(place), noise]))
model = keras.Model([place, noise], hyper(place, condition=noise) + prior_outputs)
print(f"{len(model.trainable_variables)} variables are trained, of {len(model.variables)}")
assert len(model.trainable_variables) == len(hyper.trainable_variables)

# %% [markdown]
# ## Training
#
# Every sample of a batch has noise of its own, so a batch of 80 points trains 80 networks at once.


# %%
class Disturbed(keras.utils.PyDataset):
    """The observations, in every step with new noise and disturbed along with it."""

    def __init__(self, steps, rng):
        super().__init__()
        self.steps, self.rng = steps, rng
        directions = rng.normal(size=(len(x), NOISE))
        self.directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def __len__(self):
        return self.steps

    def __getitem__(self, index):
        z = self.rng.normal(size=(len(x), NOISE))
        shift = SIGMA * (self.directions * z).sum(axis=1, keepdims=True)
        return (x, z.astype("float32")), (y + shift).astype("float32")


model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 3000)), "mse")
history = model.fit(Disturbed(100, rng), epochs=30, verbose=0)
print(f"loss {history.history['loss'][-1]:.4f}, of which noise in the data is {SIGMA**2:.4f}")

# %% [markdown]
# ## Bands
#
# 200 networks, each from one draw of the noise.

# %%
grid = np.linspace(-3, 3, 121, dtype="float32")[:, None]
draws = np.stack(
    [
        model.predict([grid, np.tile(z, (len(grid), 1))], verbose=0, batch_size=len(grid))[:, 0]
        for z in rng.normal(size=(200, 1, NOISE)).astype("float32")
    ]
)
mean, std = draws.mean(axis=0), draws.std(axis=0)

fig, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for width in (1, 2):
    axes.fill_between(
        grid[:, 0],
        mean - width * std,
        mean + width * std,
        alpha=0.2,
        color="C0",
        label=f"{width} standard deviation{'s' * (width > 1)}",
    )
axes.plot(grid, draws[:8].T, lw=0.5, color="C0")
axes.plot(grid, mean, color="C0", label="mean")
axes.plot(grid, np.sin(2 * grid), "--", color="black", label="truth")
axes.plot(x, y, ".", color="C1", label="data")
axes.set_ylim(-4, 4.5)
axes.set_xlabel("x")
axes.set_ylabel("y")
axes.legend(ncols=3, loc="upper center")
plt.show()

# %% [markdown]
# Narrow where there is data, wide in the gap and outside:

# %%
where = grid[:, 0]
inside = ((where > -1.8) & (where < -0.9)) | ((where > 0.7) & (where < 1.8))
gap, outside = np.abs(where) < 0.3, np.abs(where) > 2.6
print(
    f"spread at the data {std[inside].mean():.2f}, in the gap {std[gap].mean():.2f}, outside "
    f"{std[outside].mean():.2f}"
)
covered = np.abs(np.sin(2 * where) - mean)[inside] < 2 * np.sqrt(std[inside] ** 2 + SIGMA**2)
assert std[outside].mean() > 3 * std[inside].mean()
assert std[gap].mean() > 3 * std[inside].mean()
assert covered.mean() > 0.9
