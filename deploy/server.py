"""A small model server with the API of TensorFlow Serving, for tests and benchmarks.

    python server.py NAME=FOLDER ...

Prints its port. It speaks the gRPC API with the messages of `tensorflow-serving-api`, loads
SavedModels with TensorFlow alone (Keras and this package cannot be imported), and stands in for
`tensorflow_model_server`, which has no package to install from.
"""

import pathlib
import sys
from concurrent import futures


def service(models):
    """Returns the service for a dict from name to loaded SavedModel."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):  # noqa: N802
            name = request.model_spec.name
            signature = request.model_spec.signature_name or "serving_default"
            if name not in models:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no model {name!r}")
            signatures = models[name].signatures
            if signature not in signatures:
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"no signature {signature!r}; there are {sorted(signatures)}",
                )
            function = signatures[signature]
            specs = function.structured_input_signature[1]
            if set(request.inputs) != set(specs):
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"inputs {sorted(request.inputs)}, and not {sorted(specs)}",
                )
            try:
                inputs = {n: tf.constant(tf.make_ndarray(t)) for n, t in request.inputs.items()}
                for n, spec in specs.items():
                    if inputs[n].dtype != spec.dtype:
                        raise TypeError(f"{n!r} must be {spec.dtype.name}")
                outputs = function(**inputs)
            except (tf.errors.OpError, TypeError, ValueError) as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            for n, value in outputs.items():
                response.outputs[n].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    return Service()


def main():
    """Serves until it is ended."""
    for name in ("keras", "keras_hyper"):
        sys.modules[name] = None
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    named = dict(argument.split("=", 1) for argument in sys.argv[1:])
    models = {n: tf.saved_model.load(str(pathlib.Path(folder))) for n, folder in named.items()}
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service(models), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
