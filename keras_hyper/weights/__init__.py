"""Slots: what belongs to one generated weight."""

from keras_hyper.weights.generated_weight import GeneratedWeight as GeneratedWeight
from keras_hyper.weights.generated_weight import as_generator as as_generator
