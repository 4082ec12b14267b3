"""Hypernetworks over any Keras model, and their planning."""

from keras_hyper.hypernetwork.at import HypernetworkAt as HypernetworkAt
from keras_hyper.hypernetwork.hypernetwork import Hypernetwork as Hypernetwork
from keras_hyper.hypernetwork.planning import Plan as Plan
from keras_hyper.hypernetwork.planning import plan as plan
