"""Slots: what belongs to one generated weight."""

from keras_hyper.weights.composition import as_composition as as_composition
from keras_hyper.weights.composition import generated_part as generated_part
from keras_hyper.weights.generated_weight import GeneratedWeight as GeneratedWeight
from keras_hyper.weights.generated_weight import as_generator as as_generator
from keras_hyper.weights.generated_weight import check_condition_shape as check_condition_shape
from keras_hyper.weights.generated_weight import check_condition_type as check_condition_type
