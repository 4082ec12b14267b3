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
# # Continual learning: tasks that are not forgotten
#
# A network that learns one task after another forgets the first ones. A hypernetwork with a task
# embedding can be told what not to forget: not data, only *its own outputs*, the weights that it
# made for earlier tasks (von Oswald et al., "Continual learning with hypernetworks", ICLR 2020).
# After each task, `end_task` keeps the weights as they are, and the loss gets
#
# $$\beta \frac{1}{T - 1} \sum_{t < T} \| h(e_t) - h^*(e_t) \|^2 .$$
#
# We learn the ten digits in five tasks of two, with and without that term. Takes about a minute
# on two CPU cores.
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

from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding, summary, visualize

# %% [markdown]
# ## Data
#
# 1,797 digits of 8 x 8 pixels that ship with scikit-learn. With MNIST this is the usual benchmark,
# which `python -m experiments.split_mnist` runs in full:
#
# ```python
# import tensorflow_datasets as tfds
#
# data = tfds.as_numpy(tfds.load("mnist", split="train", batch_size=-1))
# images, labels = (data["image"] / 255.0).reshape(-1, 28 * 28), data["label"]
# ```

# %%
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, random_state=1, stratify=labels)
TASKS = 5


def task(x, y, number):
    """Returns the two digits of a task, as classes 0 and 1."""
    chosen = y // 2 == number
    return x[chosen], y[chosen] % 2


# %% [markdown]
# ## The model
#
# A perceptron with two outputs, and a generator that makes all its weights in chunks of 500. What
# is trained is the generator and the embeddings: fewer numbers than the perceptron has. What is
# kept of earlier tasks is not trained, and not needed once all tasks are learned.


# %%
def build(strength):
    """Returns a hypernetwork that holds on to earlier tasks with some strength."""
    keras.utils.set_random_seed(2)
    target = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(100, activation="relu", name="hidden_1"),
            layers.Dense(100, activation="relu", name="hidden_2"),
            layers.Dense(2, name="logits"),
        ]
    )
    return Hypernetwork(
        target,
        generator=ChunkedGenerator(500, hidden_units=(20,), embedding_dim=8),
        condition=TaskEmbedding(TASKS, 8, name="tasks"),
        output_regularization=strength,
    )


figures = summary(build(0.01))
assert figures.stored - figures.kept < figures.generated

# %% [markdown]
# ## Training, one task after the other
#
# `hyper.at(task)` is a model of one task: it goes through `fit` and `evaluate` like any other and
# shares all variables with the hypernetwork. The regulariser enters through `add_loss`.


# %%
def at(hyper, number):
    model = hyper.at(number)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, metrics=["accuracy"])
    return model


def learn(strength):
    """Returns the hypernetwork and the accuracy on every task, after every task."""
    hyper, seen = build(strength), np.full((TASKS, TASKS), np.nan)
    for number in range(TASKS):
        at(hyper, number).fit(*task(x, y, number), batch_size=32, epochs=25, verbose=0)
        hyper.end_task(number)
        for earlier in range(number + 1):
            test = task(x_test, y_test, earlier)
            seen[number, earlier] = at(hyper, earlier).evaluate(*test, verbose=0)[1]
    return hyper, seen


results = {"without": learn(0.0), "with the regulariser": learn(0.05)}
for name, (_, seen) in results.items():
    print(f"{name}: at the end {np.round(seen[-1], 2)}, mean {seen[-1].mean():.1%}")
last = {name: seen[-1].mean() for name, (_, seen) in results.items()}
assert last["with the regulariser"] > 0.95
assert last["with the regulariser"] > last["without"] + 0.05

# %% [markdown]
# ## Forgetting
#
# Each line is a task, from when it was learned on.

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2), sharey=True, layout="constrained")
for axis, (name, (_, seen)) in zip(axes, results.items(), strict=True):
    for number in range(TASKS):
        digits = f"{2 * number} or {2 * number + 1}"
        axis.plot(range(number, TASKS), seen[number:, number], "o-", label=digits)
    axis.set_title(name)
    axis.set_xlabel("tasks learned")
    axis.set_xticks(range(TASKS), range(1, TASKS + 1))
axes[0].set_ylabel("test accuracy")
axes[1].legend(title="task", loc="lower left")
plt.show()

# %% [markdown]
# ## What was learned of the tasks
#
# Five embeddings of eight numbers are all that tells one perceptron from another.

# %%
hyper = results["with the regulariser"][0]
names = [f"{2 * n} or {2 * n + 1}" for n in range(TASKS)]
visualize.embeddings(hyper.condition.task_embedding, names)
plt.show()

# %% [markdown]
# ## One plain model for a task
#
# For serving, any task can be baked into an ordinary Keras model.

# %%
plain = hyper.bake(0)
test_x, test_y = task(x_test, y_test, 0)
predicted = plain.predict(test_x, verbose=0).argmax(axis=1)
print([type(layer).__name__ for layer in plain.layers], f"{(predicted == test_y).mean():.1%}")
assert (predicted == test_y).mean() == results["with the regulariser"][1][-1, 0]

# %% [markdown]
# The same on MNIST, at the setting of the paper and beside hypnettorch, with seeds:
# `python -m experiments.split_mnist`, and the page of results in the documentation.
