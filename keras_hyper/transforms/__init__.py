"""Functions from a model to a model: `bake` and `clone`."""

from keras_hyper.transforms.bake import bake as bake
from keras_hyper.transforms.clone import clone as clone
