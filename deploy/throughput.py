"""How many steps a second a server gives to clients that stream at once.

    PYTHONPATH=tests python deploy/throughput.py    # writes docs/throughput.json

The server and the client of the tests, over gRPC with the messages of TensorFlow Serving, each in a
process of its own on one machine. One step is one call with all states in it, there and back.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import keras
import numpy as np

from keras_hyper import HyperLSTM, export_saved_model

HERE = pathlib.Path(__file__).parent
RESULTS = HERE.parent / "docs" / "throughput.json"
FEATURES, UNITS, STEPS, ROUNDS = 64, 256, 40, 3
CLIENTS = (1, 10, 50)


def networks():
    """Returns the models that are served."""
    hyper = HyperLSTM(UNITS, hyper_units=64, embedding_dim=16)
    layers = {"HyperLSTM": hyper, "LSTM": keras.layers.LSTM(UNITS)}
    return {
        name: keras.Sequential([keras.Input((None, FEATURES)), layer])
        for name, layer in layers.items()
    }


def main():
    """Serves both networks and measures them in turns."""
    rng, found = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        names = []
        for name, network in networks().items():
            export_saved_model(network, folder / name, xla=False)
            names.append(name)
        server = subprocess.Popen(
            [sys.executable, HERE / "server.py", *(f"{name}={folder / name}" for name in names)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        try:
            port = server.stdout.readline().strip()
            for _ in range(ROUNDS):
                for clients in CLIENTS:
                    sequences = rng.normal(size=(clients, STEPS, FEATURES)).astype("float32")
                    np.savez(folder / "sequences.npz", sequences=sequences)
                    for name in names:
                        command = [sys.executable, HERE / "client.py", port, name]
                        done = subprocess.run(
                            [*command, folder / "sequences.npz"],
                            capture_output=True,
                            text=True,
                            check=True,
                        )
                        report = json.loads(done.stdout.splitlines()[-1])
                        rate = clients * STEPS / report["elapsed"]
                        latency = 1000 * statistics.median(report["seconds"])
                        found.setdefault(f"{name}, {clients}", []).append((rate, latency))
        finally:
            server.terminate()
            server.wait()
    results = {
        key: {
            "steps a second": round(statistics.median(rate for rate, _ in values)),
            "milliseconds": round(statistics.median(latency for _, latency in values), 2),
        }
        for key, values in found.items()
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
