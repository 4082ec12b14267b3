"""Kernels: values in which generated weights go from a generator to a layer."""

from keras_hyper.kernels.composed import Scaled as Scaled
from keras_hyper.kernels.composed import Sum as Sum
from keras_hyper.kernels.grouped import Grouped as Grouped
from keras_hyper.kernels.grouped import grouped as grouped
from keras_hyper.kernels.kernel import Full as Full
from keras_hyper.kernels.kernel import Kernel as Kernel
from keras_hyper.kernels.kernel import product_of as product_of
from keras_hyper.kernels.low_rank import LowRank as LowRank
from keras_hyper.kernels.matrix import as_shape as as_shape
from keras_hyper.kernels.mixture import Mixture as Mixture
