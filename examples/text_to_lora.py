"""Text-to-LoRA: adapters of a transformer for any task, made from a vector of its description.

A row for each adapted kernel is made of the task's vector and embeddings of the kernel's block and
kind. One head for all blocks makes the factors A and B of it (Charakorn et al., 2025).
"""

import keras
from keras import layers, ops

from keras_hyper import Hypernetwork, LowRankGenerator


class TaskToRows(layers.Layer):
    """Makes a row for each kind of kernel in each block out of the vector of a task."""

    def __init__(self, blocks, kinds, dim, **kwargs):
        super().__init__(**kwargs)
        self.blocks, self.kinds = blocks, kinds
        self.of_task = layers.Dense(dim)
        self.of_block, self.of_kind = layers.Embedding(blocks, dim), layers.Embedding(kinds, dim)
        self.mixer = keras.Sequential([layers.Dense(4 * dim, "silu"), layers.Dense(dim)])

    def call(self, task):
        """Returns rows of shape `(batch, blocks * kinds, dim)`."""
        kernels = ops.arange(self.blocks * self.kinds)  # The kinds of a block come together.
        block, kind = self.of_block(kernels // self.kinds), self.of_kind(kernels % self.kinds)
        place = ops.concatenate([block, kind], axis=-1)
        place = ops.broadcast_to(place, (ops.shape(task)[0], *place.shape))
        task = ops.repeat(self.of_task(task)[:, None], self.blocks * self.kinds, axis=1)
        return self.mixer(ops.concatenate([task, place], axis=-1))


def text_to_lora(target, blocks, kinds=("query", "value"), rank=4, dim=32):
    """Returns a target, frozen, with adapters on the kernels of some kinds in each block."""
    target.trainable = False
    rows, head = TaskToRows(blocks, len(kinds), dim), LowRankGenerator(rank, dim)
    options = {"condition_per_weight": True, "share_generators": True, "composition": "add"}
    paths = [f"*{kind}/kernel" for kind in kinds]
    return Hypernetwork(target, head, rows, include=paths, **options)
