"""Exports behind a server with the API of TensorFlow Serving, called by other processes."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from client import Client
from export.models import CASES, outputs_of
from keras_hyper import export_saved_model

HERE = pathlib.Path(__file__).parent
CLOSE = 1e-5
NAMES = {"static": "static", "recurrent": "recurrent", "by task": "users"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Starts a server of three models: a client of it, its port, and the models."""
    folder, models = tmp_path_factory.mktemp("models"), {}
    for case, name in NAMES.items():
        models[name] = CASES[case].make()
        export_saved_model(models[name], folder / name)
    command = [sys.executable, HERE / "server.py", *(f"{n}={folder / n}" for n in models)]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": ""}
    )
    port = server.stdout.readline().strip()
    yield Client(port), port, models, server
    server.terminate()
    server.wait()


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("endpoint", ["serving_default", "serve_xla", ""])
def test_predict(case, endpoint, served, rng):
    client, _, models, _ = served
    name = NAMES[case]
    for batch, length in ((1, 3), (5, 4)):
        inputs = CASES[case].inputs(rng, batch, length)
        outputs = client(name, endpoint, **inputs)
        for key, value in outputs_of(models[name], inputs).items():
            np.testing.assert_allclose(outputs[key], value, atol=CLOSE)


def test_a_server_keeps_the_weights_of_users(served, rng):
    client, _, models, _ = served
    inputs = CASES["by task"].inputs(rng, 4, 0)
    users = {
        user: client(
            "users",
            "generate",
            condition_0=np.array([user], "int32"),
            condition_1=inputs["condition_1"][user : user + 1],
        )
        for user in range(4)
    }
    for user, weights in users.items():
        outputs = client("users", "apply", inputs=inputs["inputs"], **weights)["outputs"]
        alone = {
            "inputs": inputs["inputs"],
            "condition_0": np.full(4, user, "int32"),
            "condition_1": np.repeat(inputs["condition_1"][user : user + 1], 4, axis=0),
        }
        expected = outputs_of(models["users"], alone)["outputs"]
        np.testing.assert_allclose(outputs, expected, atol=CLOSE)


def test_fifty_clients_stream_at_once_and_keep_their_own_states(served, rng, tmp_path):
    _, port, models, _ = served
    sequences = rng.normal(size=(50, 6, 3)).astype("float32")
    np.savez(tmp_path / "sequences.npz", sequences=sequences)
    command = [sys.executable, HERE / "client.py", port, "recurrent", tmp_path / "sequences.npz"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])["last"]
    expected = outputs_of(models["recurrent"], {"inputs": sequences})
    assert len(last) == 50
    for i, outputs in enumerate(last):
        for key, value in expected.items():
            row = value[i, -1] if value.ndim == 3 else value[i]
            np.testing.assert_allclose(np.asarray(outputs[key])[0], row, atol=CLOSE)


X = np.ones((2, 8, 8, 3), "float32")
WRONG = {
    "model": ("none", "", {"image": X}, "no model"),
    "endpoint": ("static", "step", {"image": X}, "no signature"),
    "name": ("static", "", {"picture": X}, "inputs .'picture'."),
    "missing": ("users", "generate", {"condition_0": np.zeros(2, "int32")}, "condition_1"),
    "rank": ("static", "", {"image": X[0]}, "shape|rank"),
    "shape": ("static", "", {"image": X[:, :5]}, "shape"),
    "type": ("static", "", {"image": X.astype("int32")}, "must be float32"),
    "strings": ("static", "", {"image": np.array([["a"]])}, "must be float32"),
    "sizes": (
        "users",
        "",
        {
            "inputs": np.ones((3, 5), "float32"),
            "condition_0": np.zeros(2, "int32"),
            "condition_1": np.zeros((2, 4), "float32"),
        },
        ".",
    ),
    "unknown task": (
        "users",
        "generate",
        {"condition_0": np.array([9], "int32"), "condition_1": np.zeros((1, 4), "float32")},
        "must be in",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_gets_an_error_and_the_server_lives_on(case, served, rng):
    import grpc

    client, _, models, server = served
    model, endpoint, inputs, message = WRONG[case]
    with pytest.raises(grpc.RpcError, match=message):
        client(model, endpoint, **inputs)
    assert server.poll() is None
    good = CASES["static"].inputs(rng, 2, 0)
    (value,) = outputs_of(models["static"], good).values()
    np.testing.assert_allclose(client("static", "", **good)["outputs"], value, atol=CLOSE)
