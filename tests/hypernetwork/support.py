"""Which targets work with which conditions on which backend, found out by running them.

`KERAS_BACKEND=... python tests/hypernetwork/support.py` writes what it finds on that backend into
`docs/hypernetwork_support.json`, and prints the table of the guide; `test_support.py` checks
both.
"""

import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / "docs" / "hypernetwork_support.json"
GUIDE = ROOT / "docs" / "any_model.md"
BACKENDS = {
    "tensorflow": "TensorFlow",
    "tensorflow xla": "TensorFlow, XLA",
    "jax": "JAX",
    "torch": "PyTorch",
}
USES = {"one": "one set of weights", "rows": "a set for each sample"}


def attempt(kind, use, jit):
    """Trains and predicts: returns "yes", or what was refused."""
    import keras

    from keras_hyper import ChunkedGenerator, Hypernetwork

    rng = np.random.default_rng(0)
    generator = ChunkedGenerator(5, hidden_units=(4,), embedding_dim=3)
    hyper = Hypernetwork(kind.make(), generator=generator, condition=2)
    x = kind.inputs(rng, 4)
    rows = rng.normal(size=(4, 2)).astype("float32")
    outputs = hyper(x, condition=rows[0])
    targets = keras.tree.map_structure(lambda a: np.ones(a.shape, "float32"), outputs)
    model = hyper if use == "rows" else hyper.at(rows[0])
    data = {"inputs": x, "condition": rows} if use == "rows" else x
    losses = keras.tree.map_structure(lambda _: "mse", targets)
    model.compile(keras.optimizers.SGD(1e-3), losses, jit_compile=jit)
    predicted = keras.tree.flatten(model.predict(data, verbose=0))
    assert all(np.isfinite(p).all() for p in predicted)
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in hyper.trainable_variables]
    try:
        model.fit(data, targets, verbose=0)
    except ValueError as error:
        if "Weights of each sample's own cannot be" not in str(error):
            raise
        return "not in training"
    after = [keras.ops.convert_to_numpy(v) for v in hyper.trainable_variables]
    assert any(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))
    assert all(np.isfinite(a).all() for a in after)
    return "yes"


def columns():
    """Returns the columns of this backend, and whether each compiles with XLA."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return {"tensorflow": False, "tensorflow xla": True}
    return {backend: backend == "jax"}


def table():
    """Returns the lines of the table, in Markdown."""
    from hypernetwork.targets import KINDS

    found = json.loads(FILE.read_text())
    heads = [f"{USES[use]}: {name}" for use in USES for name in BACKENDS.values()]
    lines = [f"| target | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for kind in KINDS:
        row = [found[kind.name][use][backend] for use in USES for backend in BACKENDS]
        lines.append(f"| {kind.text} | {' | '.join(row)} |")
    return lines


def main():
    """Fills in the columns of this backend."""
    sys.path.insert(0, str(ROOT / "tests"))
    from hypernetwork.targets import KINDS

    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for kind in KINDS:
        cells = found.setdefault(kind.name, {use: {} for use in USES})
        for use in USES:
            for column, jit in columns().items():
                cells[use][column] = attempt(kind, use, jit)
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write("\n".join(table()) + "\n")


if __name__ == "__main__":
    main()
