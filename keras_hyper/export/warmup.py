"""Requests that TensorFlow Serving replays when it loads a model."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_hyper.export.endpoint import Endpoint, tensorflow
from keras_hyper.export.interface import Specs
from keras_hyper.typing import Shape, Tensor

_ENDPOINTS = ("serving_default", "serve_xla")


def write_warmup(
    folder: pathlib.Path,
    name: str,
    endpoints: Mapping[str, Endpoint],
    samples: Sequence[Mapping[str, Tensor]],
) -> None:
    """Writes `assets.extra/tf_serving_warmup_requests` into a SavedModel.

    Args:
        folder: The SavedModel.
        name: Name of the model.
        endpoints: Its endpoints.
        samples: Inputs by name.

    Raises:
        ImportError: If the messages of TensorFlow Serving are not installed.
        ValueError: If a sample has other inputs than the model, or other shapes.
    """
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
    arrays = {key: np.asarray(value) for key, value in sample.items()}
    types = {key: inputs[key].dtype for key in arrays}
    with np.errstate(invalid="ignore"):  # Numbers that are too large raise below.
        cast = {k: x.astype("O" if types[k] == "string" else types[k]) for k, x in arrays.items()}
    whole = [key for key, array in cast.items() if array.dtype.kind in "iu"]
    broken = [key for key in whole if not np.array_equal(cast[key], arrays[key])]
    if broken:
        raise ValueError(
            f"`warmup` must have integers for {broken}. Received: arrays of type "
            f"{[str(arrays[key].dtype) for key in broken]}, with other numbers in them."
        )
    shapes = {key: array.shape for key, array in arrays.items()}
    if not all(_fits(shape, inputs[key].shape) for key, shape in shapes.items()):
        wanted = {key: tuple(spec.shape) for key, spec in inputs.items()}
        raise ValueError(
            f"`warmup` must have arrays of the shapes {wanted}, where None is any size. "
            f"Received: {shapes}"
        )
    return cast


def _fits(shape: Sequence[int], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(
        size in (n, None) for n, size in zip(shape, wanted, strict=True)
    )
