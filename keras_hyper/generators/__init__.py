"""Generators: the hypernetworks proper, from embeddings to weights."""

from keras_hyper.generators.chunked import ChunkedGenerator as ChunkedGenerator
from keras_hyper.generators.default import default_generator as default_generator
from keras_hyper.generators.direct import DirectGenerator as DirectGenerator
from keras_hyper.generators.generator import Generator as Generator
from keras_hyper.generators.linear import LinearGenerator as LinearGenerator
from keras_hyper.generators.low_rank import LowRankGenerator as LowRankGenerator
from keras_hyper.generators.mlp import MLPGenerator as MLPGenerator
from keras_hyper.generators.template import TemplateGenerator as TemplateGenerator
from keras_hyper.generators.tiled import TiledKernelGenerator as TiledKernelGenerator
