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
# # HyperLSTM: a recurrent network that changes its weights as it reads
#
# An LSTM multiplies with the same matrices at every step. In a HyperLSTM (Ha, Dai & Le,
# "HyperNetworks", 2017) a second, small LSTM reads along and scales the rows of those
# matrices anew at every step. We train one to predict the next character of Python's own
# manual, look at what its weights do along a sentence, and let it write. Takes about two
# minutes on two CPU cores.
#
# To run it from a clone: `python3 -m pip install '.[tensorflow,tutorials]' jupyterlab`, then
# `jupyter lab`. If you have another backend, or `tensorflow-cpu`, leave `tensorflow` out.

# %%
from pydoc_data import topics

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers, ops

from keras_hyper import HyperLSTM, record_weights, visualize

keras.utils.set_random_seed(1)

# %% [markdown]
# ## Data
#
# Half a million characters of manual that come with Python. Any text would do:
# `text = open("my.txt").read()`, or one of TensorFlow Datasets:
#
# ```python
# import tensorflow_datasets as tfds
#
# (book,) = tfds.as_numpy(tfds.load("tiny_shakespeare", split="train"))
# text = book["text"].decode()
# ```

# %%
text = "".join(topics.topics.values())
characters = sorted(set(text))
number = {character: n for n, character in enumerate(characters)}
encoded = np.array([number[character] for character in text], "int32")
train, test = np.split(encoded, [int(0.95 * len(encoded))])
print(f"{len(text):,} characters, {len(characters)} different ones")

BATCH, LENGTH, UPDATES = 32, 60, 600
starts = np.random.default_rng(0).integers(len(train) - LENGTH, size=(UPDATES * BATCH, 1))
windows = train[starts + np.arange(LENGTH + 1)]
x, y = windows[:, :-1], windows[:, 1:]

test = test[: len(test) // LENGTH * LENGTH].reshape(-1, LENGTH)
x_test, y_test = test[:, :-1], test[:, 1:]

# %% [markdown]
# ## The model
#
# `HyperLSTM` takes the arguments of `keras.layers.LSTM`, and the width of the hyper cell
# and of its embeddings. With `return_state` it also returns its four states, which we need
# for writing. It trains with `fit`, compiled by XLA.

# %%
one_hot = layers.Embedding(
    len(characters), len(characters), embeddings_initializer="identity", trainable=False
)
recurrent = HyperLSTM(
    128,
    hyper_units=32,
    embedding_dim=8,
    layer_norm=True,
    return_sequences=True,
    return_state=True,
)
to_logits = layers.Dense(len(characters))

inputs = keras.Input((None,), dtype="int32")
outputs, *states = recurrent(one_hot(inputs))
model = keras.Model(inputs, to_logits(outputs))
model.summary()

# %%
model.compile(
    keras.optimizers.Adam(0.01, clipnorm=1.0),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    jit_compile=True,
)
model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=2)
bits = model.evaluate(x_test, y_test, verbose=0) / np.log(2)
print(f"{bits:.2f} bits per character on text that it has not seen")
assert bits < 3.0

# %% [markdown]
# ## What its weights do along a sentence
#
# `record_weights` runs the layer over a sequence and returns the generated scales, and how
# far the weights of each gate are from those of the step before. Dark is a large change of
# the matrices that multiply the hidden state, as in figure 4 of the paper.

# %%
sentence = "The import statement combines two operations; it searches for the named module."
ids = np.array([[number[character] for character in sentence]], "int32")
record = record_weights(recurrent, one_hot(ids))
changes = ops.convert_to_numpy(record.changes["recurrent_kernel"])[0]

visualize.weight_changes(record, sentence)
plt.show()

# Without the first step, which has none before it.
moved, space = changes[1:].mean(axis=-1), np.array([a == " " for a in sentence[1:]])
print("mean over the gates of the Frobenius norm of the change:")
print(f"{moved[space].mean():.1f} at a space, {moved[~space].mean():.1f} elsewhere")
assert moved.min() > 0

# %% [markdown]
# After a minute of training the weights of this small network move about as much within words as
# between them. The paper shows them moving between words in a network seventy times as large.

# %% [markdown]
# The scales themselves, of ten rows of the forget gate's matrix. They rise and fall together: with
# the paper's first weights all numbers of an embedding stay equal in training, so that the scales
# of a gate have one direction to go (the guide on recurrent hypernetworks has more about it).

# %%
scales = ops.convert_to_numpy(record.scales["recurrent_kernel"])[0, :, 1, :10]
fig, axis = plt.subplots(figsize=(13, 2))
axis.plot(scales, label=[f"row {n}" for n in range(10)])
axis.legend(ncols=2, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
axis.set_xlabel("character that is read")
axis.set_xticks(range(len(sentence)), list(sentence), family="monospace")
axis.set_ylabel("scale")
plt.show()
assert np.ptp(scales, axis=0).min() > 0

# %% [markdown]
# And how often `tanh(c)` is near -1 or 1 (figure 5): the cell's memory is then full.

# %%
visualize.saturation({"HyperLSTM": record})
plt.show()
saturation = ops.convert_to_numpy(record.saturation)
print(f"{np.mean(np.abs(saturation) > 0.9):.0%} beyond 0.9")

# %% [markdown]
# ## Writing, one character at a time
#
# A second model with the same layers takes one character and the four states, and returns
# the next ones: what a server would do for each user.

# %%
step_inputs = keras.Input((1,), dtype="int32")
state_inputs = [keras.Input((size,)) for size in recurrent.cell.state_size]
step_outputs, *new_states = recurrent(one_hot(step_inputs), initial_state=state_inputs)
step = keras.Model([step_inputs, *state_inputs], [to_logits(step_outputs), *new_states])

# %% [markdown]
# Step by step it computes what the whole sequence does at once:

# %%
states = recurrent.get_initial_state(1)
for n in range(20):
    logits, *states = step([ops.convert_to_tensor(ids[:, n : n + 1]), *states])
difference = np.abs(ops.convert_to_numpy(logits[:, 0] - model(ids[:, :20])[:, -1])).max()
print(f"largest difference {difference:.1e}")
assert difference < 1e-3


# %%
def write(start, length, temperature=0.6, seed=0):
    """Returns a start and what the model makes of it."""
    rng = np.random.default_rng(seed)
    states, written = recurrent.get_initial_state(1), list(start)
    for n in range(len(start) + length - 1):
        character = ops.convert_to_tensor([[number[written[n]]]], "int32")
        logits, *states = step([character, *states])
        if n + 1 < len(start):
            continue
        logits = ops.convert_to_numpy(logits)[0, 0].astype("float64") / temperature
        share = np.exp(logits - logits.max())
        written.append(characters[rng.choice(len(characters), p=share / share.sum())])
    return "".join(written)


sample = write("The import statement ", 300)
print(sample)
assert len(sample) == len("The import statement ") + 300
