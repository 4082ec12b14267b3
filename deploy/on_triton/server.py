"""Serves exports with NVIDIA's Triton Inference Server, without Keras and this package.

    python server.py HTTP_PORT GRPC_PORT NAME=FOLDER ...

Prints `ready` when it is. Each endpoint is one model of Triton, `NAME.ENDPOINT`. Triton joins the
requests that wait for the same endpoint, so that rows of several clients, each with a condition or
weights of its own, are computed in one call.
"""

import sys


def bind(triton, name, endpoint, function):
    """Adds an endpoint of a SavedModel to a Triton server.

    Args:
        triton: A `pytriton.triton.Triton`.
        name: Name of the model.
        endpoint: Name of the endpoint.
        function: The signature.
    """
    import tensorflow as tf
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor

    batched = endpoint != "initial_state"  # It takes a number.
    specs = function.structured_input_signature[1]

    def tensors(specs):
        # In Triton a row has an axis at least: ids are `(batch, 1)`.
        shapes = {n: s.shape[1:] if batched else s.shape for n, s in specs.items()}
        return [
            Tensor(
                name=n,
                dtype=specs[n].dtype.as_numpy_dtype,
                shape=tuple(-1 if size is None else size for size in shape) or (1,),
            )
            for n, shape in shapes.items()
        ]

    def run(**inputs):
        given = {n: x[..., 0] if x.ndim > specs[n].shape.rank else x for n, x in inputs.items()}
        outputs = function(**{n: tf.constant(x) for n, x in given.items()})
        return {
            n: x.numpy() if x.shape.rank > 1 else x.numpy()[:, None] for n, x in outputs.items()
        }

    def states(requests):
        return [run(batch_size=request["batch_size"]) for request in requests]

    triton.bind(
        model_name=f"{name}.{endpoint}",
        infer_func=batch(run) if batched else states,
        inputs=tensors(specs),
        outputs=tensors(function.structured_outputs),
        config=ModelConfig(
            batching=batched,
            max_batch_size=64 if batched else 0,
            batcher=DynamicBatcher(max_queue_delay_microseconds=1000),
        ),
        strict=True,
    )


def main():
    """Serves until it is ended."""
    for name in ("keras", "keras_hyper"):
        sys.modules[name] = None
    import tensorflow as tf
    from pytriton.triton import Triton, TritonConfig

    http, grpc = map(int, sys.argv[1:3])
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http,
        grpc_address="127.0.0.1",
        grpc_port=grpc,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        for argument in sys.argv[3:]:
            name, folder = argument.split("=", 1)
            loaded = tf.saved_model.load(folder)
            for endpoint, function in loaded.signatures.items():
                bind(triton, name, endpoint, function)
        triton.run()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        triton.serve()


if __name__ == "__main__":
    main()
