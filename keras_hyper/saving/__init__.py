"""Registration of classes, and configurations that keep shared layers shared."""

from keras_hyper.saving.registration import deserialize_shared as deserialize_shared
from keras_hyper.saving.registration import hold as hold
from keras_hyper.saving.registration import is_config as is_config
from keras_hyper.saving.registration import save_model as save_model
from keras_hyper.saving.registration import serializable as serializable
from keras_hyper.saving.registration import serialize_shared as serialize_shared
