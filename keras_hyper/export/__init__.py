"""Export of models for servers and other runtimes."""

from keras_hyper.export.formats import export_file as export_file
from keras_hyper.export.saved_model import Exported as Exported
from keras_hyper.export.saved_model import export_saved_model as export_saved_model

__all__ = ["Exported", "export_file", "export_saved_model"]
