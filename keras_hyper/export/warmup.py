"""Requests that TensorFlow Serving replays when it loads a model."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_hyper.export.builder import Endpoint, tensorflow

_ENDPOINTS = ("serving_default", "serve_xla")


def write_warmup(
    folder: pathlib.Path,
    name: str,
    endpoints: Mapping[str, Endpoint],
    samples: Sequence[Mapping[str, Any]],
) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests`.

    Args:
        folder: The SavedModel.
        name: Name of the model.
        endpoints: Its endpoints.
        samples: Inputs by name.

    Raises:
        ImportError: If the messages of TensorFlow Serving are not installed.
        ValueError: If a sample has not the inputs of the model.
    """
    if not samples:
        return
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError as error:
        raise ImportError(
            "`warmup` needs the messages of TensorFlow Serving: pip install --no-deps "
            "tensorflow-serving-api"
        ) from error
    tf = tensorflow()
    inputs = endpoints["serving_default"].inputs
    records = []
    for endpoint in _ENDPOINTS:
        for sample in samples if endpoint in endpoints else ():
            if set(sample) != set(inputs):
                raise ValueError(
                    f"`warmup` must have dicts with {sorted(inputs)}. Received: a dict with "
                    f"{sorted(sample)}"
                )
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = endpoint
            for key, value in sample.items():
                array = np.asarray(value, dtype=inputs[key].dtype)
                request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
            log = prediction_log_pb2.PredictLog(request=request)
            records.append(prediction_log_pb2.PredictionLog(predict_log=log))
    extra = folder / "assets.extra"
    extra.mkdir()
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record.SerializeToString())
