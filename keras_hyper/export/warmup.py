"""Requests that TensorFlow Serving replays when it loads a model."""

import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_hyper.export.endpoint import Endpoint, tensorflow
from keras_hyper.export.interface import Specs
from keras_hyper.typing import Tensor

_ENDPOINTS = ("serving_default", "serve_xla")


def write_warmup(
    folder: pathlib.Path,
    name: str,
    endpoints: Mapping[str, Endpoint],
    samples: Sequence[Mapping[str, Tensor]],
) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests` into the SavedModel of a model."""
    if not samples:
        return
    inputs = endpoints["serving_default"].inputs
    requests = [_arrays(sample, inputs) for sample in samples]
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "`warmup` needs the messages of TensorFlow Serving: pip install --no-deps "
            "tensorflow-serving-api"
        ) from error
    tf, records = tensorflow(), []
    for endpoint in _ENDPOINTS:
        for arrays in requests if endpoint in endpoints else ():
            rows = {len(array) for array in arrays.values()}
            if endpoint == "serve_xla" and len(rows) > 1:
                continue  # It does not take one condition for all rows.
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = endpoint
            for key, array in arrays.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
            log = prediction_log_pb2.PredictLog(request=request)
            records.append(prediction_log_pb2.PredictionLog(predict_log=log))
    extra = folder / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record.SerializeToString())


def _arrays(sample: Mapping[str, Tensor], inputs: Specs) -> dict[str, np.ndarray]:
    if set(sample) != set(inputs):
        raise ValueError(
            f"`warmup` must have dicts with {sorted(inputs)}. Received: a dict with "
            f"{sorted(sample)}"
        )
    return {name: _array(name, value, inputs[name]) for name, value in sample.items()}


def _array(name: str, value: Tensor, spec: keras.KerasTensor) -> np.ndarray:
    array, wanted = np.asarray(value), tuple(spec.shape)
    with np.errstate(invalid="ignore"):  # Numbers that are too large raise below.
        cast = array.astype("O" if spec.dtype == "string" else spec.dtype)
    if cast.dtype.kind in "iu" and not np.array_equal(cast, array):
        raise ValueError(
            f"`warmup` must have integers for {[name]}. Received: an array of type {array.dtype}, "
            "with other numbers in it."
        )
    sizes = zip(wanted, array.shape, strict=False)
    if array.ndim != len(wanted) or any(n not in (None, size) for n, size in sizes):
        raise ValueError(
            f"`warmup` must have arrays of the shapes { {name: wanted} }, where None is any size. "
            f"Received: { {name: array.shape} }"
        )
    return cast
