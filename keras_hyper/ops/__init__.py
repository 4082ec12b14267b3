"""Pure functions on tensors."""

from keras_hyper.ops.conv import channels_last as channels_last
from keras_hyper.ops.conv import channels_to as channels_to
from keras_hyper.ops.conv import conv_groups as conv_groups
from keras_hyper.ops.conv import per_sample_conv as per_sample_conv
from keras_hyper.ops.conv import per_sample_depthwise_conv as per_sample_depthwise_conv
from keras_hyper.ops.conv_transpose import per_sample_conv_transpose as per_sample_conv_transpose
from keras_hyper.ops.per_sample import per_sample_dense as per_sample_dense
from keras_hyper.ops.per_sample import per_sample_take as per_sample_take
from keras_hyper.ops.per_sample import shared_dense as shared_dense
from keras_hyper.ops.precision import as_array as as_array
from keras_hyper.ops.precision import at_least_float32 as at_least_float32
from keras_hyper.ops.precision import rms_normalize as rms_normalize
from keras_hyper.ops.precision import to_numpy as to_numpy
from keras_hyper.ops.rows import same_batch as same_batch
from keras_hyper.ops.rows import squeeze_column as squeeze_column
from keras_hyper.ops.rows import with_known_rank as with_known_rank
