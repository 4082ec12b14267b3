"""Exports behind NVIDIA's Triton Inference Server, called by several clients at once."""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from pytriton.client import ModelClient
from pytriton.client.exceptions import PyTritonClientError

from export.models import CASES, outputs_of
from keras_hyper import export_saved_model

SERVER = pathlib.Path(__file__).parent / "server.py"
CLOSE = 1e-5
# A message of its client about itself.
pytestmark = pytest.mark.filterwarnings("ignore:tritonclient.grpc doesn't support timeout")
NAMES = {"static": "static", "recurrent": "recurrent", "by task": "users"}


def free_ports(count):
    """Returns ports of this machine that nothing uses."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Starts a server of three models; gives a function that calls it, and the models."""
    folder, models = tmp_path_factory.mktemp("models"), {}
    for case, name in NAMES.items():
        models[name] = CASES[case].make()
        export_saved_model(models[name], folder / name)
    ports = free_ports(2)
    command = [sys.executable, SERVER, *ports, *(f"{n}={folder / n}" for n in models)]
    server = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
        start_new_session=True,  # So that the server of Triton's own can be ended with it.
    )

    def call(name, endpoint, **inputs):
        url = f"grpc://127.0.0.1:{ports[1]}"
        with ModelClient(url, f"{name}.{endpoint}", inference_timeout_s=60) as client:
            if endpoint == "initial_state":
                return client.infer_sample(**inputs)
            # In Triton a row has an axis at least: ids are `(batch, 1)`.
            return client.infer_batch(
                **{n: x[:, None] if x.ndim == 1 else x for n, x in inputs.items()}
            )

    try:
        assert "ready\n" in iter(server.stdout.readline, ""), "the server ended"
        yield call, models, server
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("endpoint", ["serving_default", "serve_xla"])
def test_predict(case, endpoint, served, rng):
    call, models, _ = served
    name = NAMES[case]
    for batch, length in ((1, 3), (5, 4)):
        inputs = CASES[case].inputs(rng, batch, length)
        outputs = call(name, endpoint, **inputs)
        for key, value in outputs_of(models[name], inputs).items():
            np.testing.assert_allclose(outputs[key], value, atol=CLOSE)


def test_clients_that_stream_at_once_keep_their_own_states(served, rng):
    call, models, _ = served
    sequences = rng.normal(size=(12, 5, 3)).astype("float32")

    def stream(sequence):
        states = call("recurrent", "initial_state", batch_size=np.array([1], "int32"))
        for x in sequence:
            outputs = call("recurrent", "step", inputs=x[None], **states)
            states = {name: outputs[f"next_{name}"] for name in states}
        return outputs

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        last = list(pool.map(stream, sequences))
    expected = outputs_of(models["recurrent"], {"inputs": sequences})
    for i, outputs in enumerate(last):
        for key, value in expected.items():
            row = value[i, -1] if value.ndim == 3 else value[i]
            np.testing.assert_allclose(outputs[key][0], row, atol=CLOSE)


def test_clients_with_weights_of_their_own_are_served_at_once(served, rng):
    call, models, _ = served
    inputs = CASES["by task"].inputs(rng, 4, 0)
    rows = [{name: x[i : i + 1] for name, x in inputs.items()} for i in range(4)]

    def serve(row):
        row = dict(row)
        x = row.pop("inputs")
        weights = call("users", "generate", **row)
        return call("users", "apply", inputs=x, **weights)["outputs"][0]

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outputs = np.stack(list(pool.map(serve, rows)))
    expected = outputs_of(models["users"], inputs)["outputs"]
    np.testing.assert_allclose(outputs, expected, atol=CLOSE)


X = np.ones((2, 8, 8, 3), "float32")
WRONG = {
    "name": ("static", {"picture": X}),
    "rank": ("static", {"image": X[0]}),
    "shape": ("static", {"image": X[:, :5]}),
    "type": ("static", {"image": X.astype("int32")}),
    "unknown task": (
        "users",
        {
            "inputs": np.ones((1, 5), "float32"),
            "condition_0": np.array([9], "int32"),
            "condition_1": np.zeros((1, 4), "float32"),
        },
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_gets_an_error_and_the_server_lives_on(case, served, rng):
    call, models, server = served
    name, inputs = WRONG[case]
    with pytest.raises(PyTritonClientError):
        call(name, "serving_default", **inputs)
    assert server.poll() is None
    good = CASES["static"].inputs(rng, 2, 0)
    (value,) = outputs_of(models["static"], good).values()
    outputs = call("static", "serving_default", **good)["outputs"]
    np.testing.assert_allclose(outputs, value, atol=CLOSE)
