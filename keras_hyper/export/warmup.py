"""Warm-up requests, which TensorFlow Serving replays when it loads a model."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_hyper.export.endpoint import Endpoint, tensorflow
from keras_hyper.export.interface import Specs
from keras_hyper.typing import Tensor
from keras_hyper.utils.optional import optional


def write_warmup(
    folder: pathlib.Path,
    name: str,
    endpoints: Mapping[str, Endpoint],
    samples: Sequence[Mapping[str, Tensor]],
) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests` into a SavedModel."""
    if not samples:
        return
    inputs = endpoints["serving_default"].inputs
    requests = [_arrays(sample, inputs) for sample in samples]
    advice = "`warmup` needs the messages of TensorFlow Serving: pip install --no-deps "
    predict_pb2, prediction_log_pb2 = optional(
        f"{advice}tensorflow-serving-api",
        "tensorflow_serving.apis.predict_pb2",
        "tensorflow_serving.apis.prediction_log_pb2",
    )
    tf, records = tensorflow(), []
    for endpoint in ("serving_default", "serve_xla"):
        for arrays in requests if endpoint in endpoints else ():
            rows = {len(array) for array in arrays.values()}
            if endpoint == "serve_xla" and len(rows) > 1:
                continue  # This endpoint takes a condition for each row.
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
    arrays = {}
    for name, spec in inputs.items():
        array, shape = np.asarray(sample[name]), tuple(spec.shape)
        with np.errstate(invalid="ignore"):  # Values out of range raise below.
            cast = array.astype("O" if spec.dtype == "string" else spec.dtype)
        if cast.dtype.kind in "iu" and not np.array_equal(cast, array):
            raise ValueError(
                f"`warmup` must have integers for {[name]}. Received: an array of dtype "
                f"{array.dtype} with other numbers."
            )
        sizes = zip(shape, array.shape, strict=False)
        if array.ndim != len(shape) or any(n not in (None, size) for n, size in sizes):
            raise ValueError(
                f"`warmup` must have arrays of the shapes { {name: shape} }, where None is any "
                f"size. Received: { {name: array.shape} }"
            )
        arrays[name] = cast
    return arrays
