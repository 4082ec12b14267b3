"""Compiles every public class for TPUs, with their own compiler and without a TPU.

    KERAS_BACKEND=tensorflow python deploy/tpu.py lower FOLDER   # serving, from TensorFlow
    KERAS_BACKEND=jax python deploy/tpu.py compile FOLDER        # that, and training from JAX

`libtpu`, which has the compiler, has a licence of its own; `tox run -e tpu` installs it in an
environment of its own. Nothing is executed: this says that programs compile for a v5e, for one chip
and for four, and what they need there. `--write` at the end writes `docs/tpu.json`.
"""

import json
import pathlib
import re
import sys

import keras
import numpy as np

from conformance.programs import ROWS, functions, program

RESULTS = pathlib.Path(__file__).parents[1] / "docs" / "tpu.json"
# A copy of TensorFlow's own, which means nothing here.
COPY = re.compile(
    r'"?mhlo\.copy"?\(?\s*(%\w+)\)?(?: \{[^}]*\})? : (?:\(tensor<[^>]*>\) -> )?(tensor<[^>]*>)'
)
BATCH = 8
POLICIES = ("float32", "mixed_bfloat16")
CHIPS = (1, 4)


def lower(folder):
    """Writes what TensorFlow gives to XLA for serving, a file for each class."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in ROWS:
        serve, _, data = functions(row)
        (folder / f"{row.name}.mlir").write_text(program(serve, data))


def topology():
    """Returns the devices of a v5e host that is not there."""
    from jax.experimental import topologies

    return topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")


def compile_text(text, devices):
    """Compiles a program of TensorFlow's for one chip."""
    from jax._src import compiler
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jax._src.lib.mlir import ir

    text = COPY.sub(r"stablehlo.reshape \1 : (\2) -> \2", text)
    options = compiler.get_compile_options(num_replicas=1, num_partitions=1)
    with mlir.make_ir_context():
        module = ir.Module.parse(text)
        chip = xla_client.DeviceList((devices[0],))
        return devices[0].client.compile(module, chip, options)


def train_step(row):
    """Returns a step of training as a function of values, and its values."""
    model, optimizer = row.model(), keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    def loss_of(trainable, state, data):
        outputs, state, losses = model.stateless_call(
            trainable, state, data, training=True, return_losses=True
        )
        total = sum(losses)
        for y in keras.tree.flatten(outputs):
            total = total + keras.ops.mean(keras.ops.square(keras.ops.cast(y, "float32")))
        return total, state

    def step(trainable, state, of_optimizer, data):
        import jax

        if not trainable:
            return loss_of(trainable, state, data)
        (loss, state), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, state, data)
        trainable, of_optimizer = optimizer.stateless_apply(of_optimizer, gradients, trainable)
        return loss, trainable, state, of_optimizer

    values = [
        [v.value for v in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            optimizer.variables,
        )
    ]
    return step, values, row.data(BATCH)


def compile_step(row, policy, chips, devices):
    """Compiles a step for some chips, each with a part of the batch: returns its figures."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    keras.config.set_dtype_policy(policy)
    step, values, data = train_step(row)
    mesh = Mesh(np.array(devices[:chips]), ("batch",))

    def spec(x, *axes):
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    arguments = keras.tree.map_structure(spec, values)
    data = {name: spec(x, "batch") for name, x in data.items()}
    traced = jax.jit(step).trace(*arguments, data)
    compiled = traced.lower(lowering_platforms=("tpu",)).compile()
    cost, memory, text = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    return {
        "operations": int((cost[0] if isinstance(cost, list) else cost).get("flops", 0)),
        "memory": memory.temp_size_in_bytes + memory.argument_size_in_bytes,
        "collectives": len(
            re.findall(r"(?:all-reduce|all-gather|reduce-scatter)(?:-start)?\(", text)
        ),
    }


def refuses_what_no_tpu_has(devices):
    """Whether the compiler is one: it has no general eigenvalues."""
    import jax

    sharding = jax.sharding.SingleDeviceSharding(devices[0])
    spec = jax.ShapeDtypeStruct((3, 3), "float32", sharding=sharding)
    try:
        jax.jit(jax.numpy.linalg.eig).trace(spec).lower(lowering_platforms=("tpu",)).compile()
    except NotImplementedError:
        return True
    return False


def table(results):
    """Returns the lines of the table in the guide."""
    lines = [
        "| | operations | memory on one chip, KiB | the same, bfloat16 | collectives of 4 chips |"
    ]
    lines.append("|---|---|---|---|---|")
    for name, found in results.items():
        one, low, four = (found[key] for key in ("float32, 1", "mixed_bfloat16, 1", "float32, 4"))
        lines.append(
            f"| {name} | {one['operations']:,} | {one['memory'] / 1024:,.0f} | "
            f"{low['memory'] / 1024:,.0f} | {four['collectives']} |"
        )
    return lines


def main():
    """Does what the command line says."""
    what, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    if what == "lower":
        lower(folder)
        return
    devices, results = topology().devices, {}
    assert refuses_what_no_tpu_has(devices)
    for row in ROWS:
        found = results[row.name] = {}
        for policy in POLICIES:
            for chips in CHIPS:
                found[f"{policy}, {chips}"] = compile_step(row, policy, chips, devices)
        compile_text((folder / f"{row.name}.mlir").read_text(), devices)
        found["serving from TensorFlow"] = "compiled"
        sys.stdout.write(f"{row.name}: {found}\n")
        sys.stdout.flush()
        trained = bool(row.model().trainable_variables)
        assert (found["float32, 4"]["collectives"] > 0) or not trained, "no gradients are summed"
        assert found["float32, 1"]["collectives"] == 0
    if "--write" in sys.argv:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write("\n".join(table(results)) + "\n")


if __name__ == "__main__":
    main()
