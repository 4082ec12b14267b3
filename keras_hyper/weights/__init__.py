"""Generated weights, and functions that find them in a model."""

from keras_hyper.weights.checks import as_generator as as_generator
from keras_hyper.weights.checks import check_condition as check_condition
from keras_hyper.weights.checks import check_condition_shape as check_condition_shape
from keras_hyper.weights.checks import check_condition_type as check_condition_type
from keras_hyper.weights.composition import as_composition as as_composition
from keras_hyper.weights.composition import generated_part as generated_part
from keras_hyper.weights.factors import kernels_of as kernels_of
from keras_hyper.weights.finding import FoundWeight as FoundWeight
from keras_hyper.weights.finding import find_weights as find_weights
from keras_hyper.weights.finding import held_weights as held_weights
from keras_hyper.weights.generated_weight import GeneratedWeight as GeneratedWeight
