"""Pure functions: products with a kernel of its own for each sample."""

from keras_hyper.ops.per_sample import per_sample_conv as per_sample_conv
from keras_hyper.ops.per_sample import per_sample_dense as per_sample_dense
