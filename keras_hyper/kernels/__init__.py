"""Kernels: the values that carry generated weights from a generator to a layer."""

from keras_hyper.kernels.kernel import Full as Full
from keras_hyper.kernels.kernel import Kernel as Kernel
from keras_hyper.kernels.mixture import Mixture as Mixture
