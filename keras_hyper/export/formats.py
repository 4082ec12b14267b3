"""Export to ONNX, LiteRT and OpenVINO."""

import contextlib
import pathlib
import tempfile
import warnings
from collections.abc import Iterator

import keras
import numpy as np

from keras_hyper.export.agreement import Arrays
from keras_hyper.export.endpoint import Endpoint, quiet, tensorflow
from keras_hyper.export.endpoints import Endpoints
from keras_hyper.export.interface import reason
from keras_hyper.export.trials import Call
from keras_hyper.typing import FilePath, Tensors
from keras_hyper.utils.checks import one_of, positive_int
from keras_hyper.utils.files import check_ending, replacing
from keras_hyper.utils.optional import optional

# Endings of paths. OpenVINO writes a folder of two files.
FORMATS = {"onnx": ".onnx", "litert": ".tflite", "openvino": ""}


def export_file(
    model: keras.Model,
    path: FilePath,
    *,
    endpoint: str = "serving_default",
    batch_size: int | None = None,
    fold: bool = True,
    input_signature: Tensors = None,
) -> list[str]:
    """Writes one endpoint of a model for ONNX Runtime, LiteRT or OpenVINO.

    The endpoints are those of `export_saved_model`, with the same names of inputs and outputs.
    Conditions and weights have a row for each sample. The converted model is run and compared
    with `model` before it replaces an older one.

    Args:
        model: A built model, with the TensorFlow backend.
        path: A file that ends in `.onnx` or `.tflite`, or a folder without an ending for
            OpenVINO's `model.xml` and `model.bin`.
        endpoint: `"serving_default"`, `"step"`, `"generate"`, `"apply"`, `"generate_factored"` or
            `"apply_factored"`.
        batch_size: The only batch size, or None (default) for any. LiteRT needs one if the
            endpoint has a loop, such as a recurrent layer over a whole sequence. The file does not
            check the batch size of requests.
        fold: See `export_saved_model`.
        input_signature: See `export_saved_model`.

    Returns:
        The names of the inputs.

    Raises:
        ImportError: If the converter is not installed.
        ValueError: If the model has no such endpoint. If the format does not support the endpoint,
            or gives different outputs.

    Examples:
        >>> import keras, pathlib, tempfile
        >>> from keras_hyper import HyperDense
        >>> from keras_hyper.export import export_file
        >>> model = keras.Sequential([keras.Input((4,)), HyperDense(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_file(model, pathlib.Path(folder) / "model.tflite")
        ['inputs']
    """
    path = check_ending(path, *FORMATS.values())
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Only models of the TensorFlow backend can be converted. Received: KERAS_BACKEND="
            f"{keras.backend.backend()}. Load the model from its `.keras` file there."
        )
    if batch_size is not None:
        batch_size = positive_int("batch_size", batch_size)
    streaming = True if endpoint == "step" else None
    build = Endpoints(model, fold, streaming, input_signature, sharing=False, batch_size=batch_size)
    if endpoint in build.left_out:
        raise ValueError(f"The model has no `{endpoint}`: {build.left_out[endpoint]}")
    written = [name for name in build.endpoints if name != "initial_state"]
    chosen = build.endpoints[one_of("endpoint", endpoint, written)]
    write = {".onnx": _onnx, ".tflite": _litert, "": _openvino}[path.suffix]
    parts = ("model.xml", "model.bin")
    with replacing(path, folder=not path.suffix, may_have=parts) as temporary:
        build.check(endpoint, write(build, chosen, temporary))
    return list(chosen.inputs)


def _onnx(build: Endpoints, endpoint: Endpoint, path: pathlib.Path) -> Call:
    tf = tensorflow()
    advice = "ONNX files need a converter: pip install tf2onnx onnx"
    onnx, tf2onnx = optional(advice, "onnx", "tf2onnx")
    function = endpoint.function.get_concrete_function()
    both = sorted(set(endpoint.inputs) & set(function.structured_outputs))
    if both:
        raise ValueError(
            "In ONNX, an output cannot have the name of an input. Received: a model with "
            f"{both} as inputs and outputs."
        )
    specs = [tf.TensorSpec(s.shape, s.dtype, name=n) for n, s in endpoint.inputs.items()]
    with _converting("ONNX"):
        model, _ = tf2onnx.convert.from_function(endpoint.function, input_signature=specs)
        # The converter only logs operations that ONNX does not have.
        unknown = {n.op_type for n in model.graph.node if not onnx.defs.has(n.op_type, n.domain)}
        if unknown:
            raise ValueError(f"unsupported operations {sorted(unknown)}.")
        onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    names = [output.name for output in model.graph.output]
    try:
        import onnxruntime
    except ImportError:
        # Slow, but fast enough for a few samples.
        session = onnx.reference.ReferenceEvaluator(model)
    else:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True))


def _litert(build: Endpoints, endpoint: Endpoint, path: pathlib.Path) -> Call:
    tf = tensorflow()
    graph = endpoint.function.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    # LiteRT loops collect tensors of a known shape only.
    free = any(spec.shape and spec.shape[0] is None for spec in endpoint.inputs.values())
    if free and any(node.op in ("While", "StatelessWhile") for node in nodes):
        raise ValueError(
            "This endpoint has a loop, which LiteRT can run for one batch size only. Received: "
            "batch_size=None. Use batch_size=1, or, for a recurrent model, endpoint='step'."
        )
    # On a full disk, `from_concrete_functions` would write a model without names.
    with _saved(build, endpoint) as folder, _converting("LiteRT"):
        content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    path.write_bytes(content)
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError:
        litert = tf.lite
    with warnings.catch_warnings():  # TensorFlow's own interpreter is deprecated.
        warnings.simplefilter("ignore", UserWarning)
        runner = litert.Interpreter(model_content=content).get_signature_runner()
    return lambda inputs: runner(**inputs)


def _openvino(build: Endpoints, endpoint: Endpoint, path: pathlib.Path) -> Call:
    advice = "OpenVINO models need a converter: pip install openvino"
    (openvino,) = optional(advice, "openvino")
    # Recurrent models are converted from a SavedModel only.
    with _saved(build, endpoint) as folder, _converting("OpenVINO"):
        converted = openvino.convert_model(folder)
    file = str(path / "model.xml")
    openvino.save_model(converted, file, compress_to_fp16=False)
    options = {"INFERENCE_PRECISION_HINT": "f32"}  # Not half precision, as on some CPUs.
    compiled = openvino.Core().compile_model(file, "CPU", options)

    def call(inputs: Arrays) -> dict[str, np.ndarray]:
        results = compiled(dict(inputs)).to_dict()
        return {name: value for output, value in results.items() for name in output.get_names()}

    return call


@contextlib.contextmanager
def _saved(build: Endpoints, endpoint: Endpoint) -> Iterator[str]:
    """Yields a folder with a SavedModel of one endpoint."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        build.write(folder, {"serving_default": endpoint})
        yield folder


@contextlib.contextmanager
def _converting(name: str) -> Iterator[None]:
    """Raises the error of a converter in one sentence."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{name} does not support this endpoint: {reason(error)}") from error
