"""Conditions: what generated weights depend on."""

from keras_hyper.conditions.adapter_mask import AdapterMask as AdapterMask
from keras_hyper.conditions.encoding import MagnitudeInvariantEncoding as MagnitudeInvariantEncoding
from keras_hyper.conditions.joined import JoinedCondition as JoinedCondition
from keras_hyper.conditions.noise import NoiseCondition as NoiseCondition
from keras_hyper.conditions.task_embedding import TaskEmbedding as TaskEmbedding
