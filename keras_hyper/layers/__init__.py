"""Layers with generated weights."""

from keras_hyper.layers.hyper_conv import HyperConv1D as HyperConv1D
from keras_hyper.layers.hyper_conv import HyperConv2D as HyperConv2D
from keras_hyper.layers.hyper_conv import HyperConv3D as HyperConv3D
from keras_hyper.layers.hyper_conv_transpose import HyperConv2DTranspose as HyperConv2DTranspose
from keras_hyper.layers.hyper_dense import HyperDense as HyperDense
from keras_hyper.layers.hyper_depthwise_conv import HyperDepthwiseConv2D as HyperDepthwiseConv2D
from keras_hyper.layers.hyper_einsum_dense import HyperEinsumDense as HyperEinsumDense
from keras_hyper.layers.hyper_embedding import HyperEmbedding as HyperEmbedding
from keras_hyper.layers.hyper_layer import HyperLayer as HyperLayer
