"""Which models work in which format, found by converting and running each of them.

PYTHONPATH=tests python deploy/formats.py    # writes docs/export_formats.json
"""

import json
import pathlib
import sys
import tempfile

import numpy as np

from export.models import CASES, outputs_of
from keras_hyper.export import export_file

RESULTS = pathlib.Path(__file__).parents[1] / "docs" / "export_formats.json"
FORMATS = {"ONNX": "model.onnx", "LiteRT": "model.tflite", "OpenVINO": "model"}
# Two programs of the same sums, at outputs of size 1.
CLOSE = 1e-5
ROWS = [
    ("static layers", "static", "serving_default"),
    ("a recurrent model, whole sequences", "recurrent", "serving_default"),
    ("a recurrent model, `step`", "recurrent", "step"),
    ("a recurrent model of ids, whole sequences", "text", "serving_default"),
    ("a recurrent model of ids, `step`", "text", "step"),
    ("conditioned layers", "several inputs", "serving_default"),
    ("conditioned layers, `generate`", "several inputs", "generate"),
    ("conditioned layers, `apply`", "several inputs", "apply"),
    ("`Hypernetwork`", "by task", "serving_default"),
    ("`Hypernetwork`, `generate`", "by task", "generate"),
    ("`Hypernetwork`, `apply`", "by task", "apply"),
    ("`Hypernetwork.at`", "at a task", "serving_default"),
    ("`Hypernetwork` over an LSTM", "recurrent target", "serving_default"),
]


def run_onnx(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def run_litert(path, inputs):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    (signature,) = interpreter.get_signature_list()
    return interpreter.get_signature_runner(signature)(**inputs)


def run_openvino(path, inputs):
    import openvino

    # Its CPUs compute in half precision where they can.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path / "model.xml"), "CPU", options)
    results = model(inputs).to_dict()
    return {name: value for output, value in results.items() for name in output.get_names()}


RUNNERS = {"ONNX": run_onnx, "LiteRT": run_litert, "OpenVINO": run_openvino}


def inputs_and_outputs(case, endpoint, model, batch, length, rng):
    """Returns what an endpoint takes and should return, by TensorFlow and Keras alone."""
    data = CASES[case].inputs(rng, batch, length)
    if endpoint == "serving_default":
        return data, outputs_of(model, data)
    from keras_hyper.export.endpoints import Endpoints

    endpoints = Endpoints(model).endpoints

    def call(name, inputs):
        ordered = [inputs[n] for n in endpoints[name].inputs]
        outputs = endpoints[name].function(*ordered)
        return {n: value.numpy() for n, value in outputs.items()}

    if endpoint == "step":
        (name, sequence), states = *data.items(), call("initial_state", {"batch_size": batch})
        states = {n: state + rng.normal(size=state.shape) for n, state in states.items()}
        data = {name: sequence[:, 0], **{n: s.astype("float32") for n, s in states.items()}}
    elif endpoint == "apply":
        weights = call("generate", data)
        data = {n: {**data, **weights}[n] for n in endpoints["apply"].inputs}
    else:
        data = {n: data[n] for n in endpoints["generate"].inputs}
    return data, call(endpoint, data)


def attempt(case, endpoint, kind, folder):
    """Returns how a model works in a format: `"yes"`, or with a restriction."""
    model, rng = CASES[case].make(), np.random.default_rng(3)
    path = folder / FORMATS[kind]
    batch_size, batches = None, (1, 3)
    try:
        export_file(model, path, endpoint=endpoint)
    except ValueError as error:
        if "batch_size=1" not in str(error):
            raise
        batch_size, batches = 2, (2,)
        export_file(model, path, endpoint=endpoint, batch_size=batch_size)
    for batch in batches:
        for length in (3, 7):
            inputs, expected = inputs_and_outputs(case, endpoint, model, batch, length, rng)
            outputs = RUNNERS[kind](path, inputs)
            for name, value in expected.items():
                gap = np.abs(np.asarray(outputs[name]) - value).max()
                if not gap < CLOSE:
                    raise AssertionError(f"{case}, {endpoint}, {kind}: {name} differs by {gap}")
    return "yes" if batch_size is None else "with a `batch_size`"


def table(results):
    """Returns the lines of the table in the guide."""
    lines = [f"| | {' | '.join(FORMATS)} |", "|---|---|---|---|"]
    for text, _, _ in ROWS:
        lines.append(f"| {text} | {' | '.join(results[text][kind] for kind in FORMATS)} |")
    return lines


def main():
    """Tries everything, and writes the results."""
    results = {}
    for text, case, endpoint in ROWS:
        results[text] = {}
        for kind in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                results[text][kind] = attempt(case, endpoint, kind, pathlib.Path(folder))
        sys.stdout.write(f"{text}: {results[text]}\n")
        sys.stdout.flush()
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write("\n".join(table(results)) + "\n")


if __name__ == "__main__":
    main()
