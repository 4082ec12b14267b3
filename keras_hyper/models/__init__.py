"""Whole models: hypernetworks over any of them, planning, cloning and baking."""

from keras_hyper.models.at import HypernetworkAt as HypernetworkAt
from keras_hyper.models.bake import bake as bake
from keras_hyper.models.clone import clone as clone
from keras_hyper.models.hypernetwork import Hypernetwork as Hypernetwork
from keras_hyper.models.planning import Plan as Plan
from keras_hyper.models.planning import plan as plan
