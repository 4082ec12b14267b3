"""Registration of classes, shared layers in configurations, and files."""

from keras_hyper.saving.files import save_model as save_model
from keras_hyper.saving.registration import serializable as serializable
from keras_hyper.saving.sharing import deserialize_shared as deserialize_shared
from keras_hyper.saving.sharing import is_config as is_config
from keras_hyper.saving.sharing import serialize_shared as serialize_shared
from keras_hyper.saving.tracking import hold as hold
