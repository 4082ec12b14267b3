"""Summaries, records, gradients and images of generated weights."""

from keras_hyper.inspect.inventory import GeneratorSummary as GeneratorSummary
from keras_hyper.inspect.inventory import WeightSummary as WeightSummary
from keras_hyper.inspect.recording import WeightRecord as WeightRecord
from keras_hyper.inspect.recording import record_weights as record_weights
from keras_hyper.inspect.summary import Summary as Summary
from keras_hyper.inspect.summary import summary as summary
