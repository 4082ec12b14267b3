"""Whole models: cloning and baking."""

from keras_hyper.models.bake import bake as bake
from keras_hyper.models.clone import clone as clone
