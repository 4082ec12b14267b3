"""Layers whose weights are generated."""

from keras_hyper.layers.hyper_conv import HyperConv2D as HyperConv2D
from keras_hyper.layers.hyper_dense import HyperDense as HyperDense
from keras_hyper.layers.hyper_layer import HyperLayer as HyperLayer
