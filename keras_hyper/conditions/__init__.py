"""Conditions: what generated weights depend on."""

from keras_hyper.conditions.task_embedding import TaskEmbedding as TaskEmbedding
