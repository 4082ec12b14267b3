"""Functions that apply layers with given weights, and models that use them."""

from keras_hyper.application.injection import WeightInjection as WeightInjection
from keras_hyper.application.installing import installed as installed
from keras_hyper.application.quantized import is_quantized as is_quantized
from keras_hyper.application.quantized import of_quantization as of_quantization
from keras_hyper.application.quantized import quantized_shapes as quantized_shapes
from keras_hyper.application.recurrent import loops_of as loops_of
from keras_hyper.application.rows import RowsError as RowsError
from keras_hyper.application.table import application_of as application_of
from keras_hyper.application.table import apply_layer as apply_layer
from keras_hyper.application.table import axes_of as axes_of
from keras_hyper.application.table import own_initializer as own_initializer
from keras_hyper.application.table import register_application as register_application
