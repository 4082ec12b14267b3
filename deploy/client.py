"""A client of TensorFlow Serving's gRPC API, which has neither Keras nor this package.

    python client.py PORT MODEL sequences.npz

`Client` is for any program; the command streams the sequences of many clients at once, each with
its own states, and prints the outputs of their last steps as JSON.
"""

import json
import sys
import threading
import time

import numpy as np


class Client:
    """Calls the endpoints of models on a server.

    Args:
        port: Of the server on this machine.
    """

    def __init__(self, port):
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def __call__(self, model, endpoint, **inputs):
        """Returns the outputs as arrays; raises `grpc.RpcError`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = endpoint
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        outputs = self.stub.Predict(request, timeout=60).outputs
        return {name: tf.make_ndarray(value) for name, value in outputs.items()}


def stream(client, model, sequence):
    """Returns the outputs of the last step of one sequence, and the seconds of each."""
    states, seconds = client(model, "initial_state", batch_size=np.int32(1)), []
    for x in sequence:
        start = time.perf_counter()
        outputs = client(model, "step", inputs=x[None], **states)
        seconds.append(time.perf_counter() - start)
        states = {name: outputs[f"next_{name}"] for name in states}
    return outputs, seconds


def main():
    """Streams one sequence for each client, all at once."""
    for name in ("keras", "keras_hyper"):
        sys.modules[name] = None
    port, model, path = sys.argv[1:4]
    sequences = np.load(path)["sequences"]
    results = [None] * len(sequences)
    client = Client(port)

    def work(i):
        results[i] = stream(client, model, sequences[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(sequences))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    report = {
        "last": [{n: v.tolist() for n, v in outputs.items()} for outputs, _ in results],
        "seconds": [second for _, seconds in results for second in seconds],
        "elapsed": elapsed,
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
