"""Hypernetworks for Keras 3: layers and models whose weights are generated."""

import importlib
import types
import typing as std_typing  # `typing` is a module of this package.

from keras_hyper.application import register_application as register_application
from keras_hyper.conditions import AdapterMask as AdapterMask
from keras_hyper.conditions import MagnitudeInvariantEncoding as MagnitudeInvariantEncoding
from keras_hyper.conditions import NoiseCondition as NoiseCondition
from keras_hyper.conditions import TaskEmbedding as TaskEmbedding
from keras_hyper.export import export_saved_model as export_saved_model
from keras_hyper.generators import ChunkedGenerator as ChunkedGenerator
from keras_hyper.generators import Generator as Generator
from keras_hyper.generators import LinearGenerator as LinearGenerator
from keras_hyper.generators import LowRankGenerator as LowRankGenerator
from keras_hyper.generators import MLPGenerator as MLPGenerator
from keras_hyper.generators import TemplateGenerator as TemplateGenerator
from keras_hyper.generators import TiledKernelGenerator as TiledKernelGenerator
from keras_hyper.hypernetwork import Hypernetwork as Hypernetwork
from keras_hyper.hypernetwork import plan as plan
from keras_hyper.inspect import record_weights as record_weights
from keras_hyper.inspect import summary as summary
from keras_hyper.layers import HyperConv1D as HyperConv1D
from keras_hyper.layers import HyperConv2D as HyperConv2D
from keras_hyper.layers import HyperConv2DTranspose as HyperConv2DTranspose
from keras_hyper.layers import HyperConv3D as HyperConv3D
from keras_hyper.layers import HyperDense as HyperDense
from keras_hyper.layers import HyperDepthwiseConv2D as HyperDepthwiseConv2D
from keras_hyper.layers import HyperEinsumDense as HyperEinsumDense
from keras_hyper.layers import HyperEmbedding as HyperEmbedding
from keras_hyper.rnn import HyperGRU as HyperGRU
from keras_hyper.rnn import HyperGRUCell as HyperGRUCell
from keras_hyper.rnn import HyperLSTM as HyperLSTM
from keras_hyper.rnn import HyperLSTMCell as HyperLSTMCell
from keras_hyper.rnn import HyperSimpleRNN as HyperSimpleRNN
from keras_hyper.rnn import HyperSimpleRNNCell as HyperSimpleRNNCell
from keras_hyper.rnn import LayerNormLSTM as LayerNormLSTM
from keras_hyper.rnn import LayerNormLSTMCell as LayerNormLSTMCell
from keras_hyper.transforms import bake as bake
from keras_hyper.transforms import clone as clone
from keras_hyper.version import __version__ as __version__
from keras_hyper.weights import GeneratedWeight as GeneratedWeight

if std_typing.TYPE_CHECKING:
    from keras_hyper import callbacks as callbacks
    from keras_hyper import visualize as visualize

# Without it, `from keras_hyper import *` would bring in the subpackages too, and
# hide `keras.layers` and `keras.ops`.
__all__ = [
    "AdapterMask",
    "ChunkedGenerator",
    "GeneratedWeight",
    "Generator",
    "HyperConv1D",
    "HyperConv2D",
    "HyperConv2DTranspose",
    "HyperConv3D",
    "HyperDense",
    "HyperDepthwiseConv2D",
    "HyperEinsumDense",
    "HyperEmbedding",
    "HyperGRU",
    "HyperGRUCell",
    "HyperLSTM",
    "HyperLSTMCell",
    "HyperSimpleRNN",
    "HyperSimpleRNNCell",
    "Hypernetwork",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "LinearGenerator",
    "LowRankGenerator",
    "MLPGenerator",
    "MagnitudeInvariantEncoding",
    "NoiseCondition",
    "TaskEmbedding",
    "TemplateGenerator",
    "TiledKernelGenerator",
    "bake",
    "clone",
    "export_saved_model",
    "plan",
    "record_weights",
    "register_application",
    "summary",
]


def __getattr__(name: str) -> types.ModuleType:
    """Loads `callbacks` or `visualize` on first use."""
    if name in ("callbacks", "visualize"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "callbacks", "visualize"})
