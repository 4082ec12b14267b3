"""Kills programs that save at random moments, and reads what is left.

    PYTHONPATH=tests python deploy/kill.py 50    # writes docs/kills.json

Each program replaces a good file again and again, by `save_model`, `export_saved_model` or
`save_adapter`, until it is killed. What is there then must be one whole model.
"""

import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

RESULTS = pathlib.Path(__file__).parents[1] / "docs" / "kills.json"
KINDS = {"save_model": "model.keras", "export_saved_model": "model", "save_adapter": "model.npz"}


def make():
    """Returns a model whose every weight is the same number, and its path for each kind."""
    import keras
    from keras import layers

    from keras_hyper import ChunkedGenerator, Hypernetwork, TaskEmbedding

    keras.utils.set_random_seed(1)
    target = keras.Sequential(
        [keras.Input((64,), name="x"), layers.Dense(256, name="a"), layers.Dense(64, name="b")]
    )
    return Hypernetwork(target, ChunkedGenerator(512), condition=TaskEmbedding(3, 8))


def write(model, kind, path):
    """Writes a model in one way."""
    from keras_hyper import export_saved_model
    from keras_hyper.saving import save_model

    if kind == "save_model":
        save_model(model, path)
    elif kind == "save_adapter":
        model.save_adapter(path)
    else:
        export_saved_model(model, path, xla=False)


def numbers(kind, path):
    """Returns the numbers of what was written: all the same, if it is one model."""
    import keras
    import tensorflow as tf

    import keras_hyper  # noqa: F401  # Registers the classes that files name.

    if kind == "save_model":
        return [v.numpy() for v in keras.saving.load_model(path).trainable_variables]
    if kind == "save_adapter":
        model = make()
        model.load_adapter(path)
        return [v.numpy() for v in model.trainable_variables]
    loaded = tf.saved_model.load(str(path))
    return [v.numpy() for v in loaded.all_variables]


def loop(kind, path):
    """Writes for ever, each time with another number in all weights."""
    import numpy as np

    model, number = make(), 0.0
    while True:
        number += 1.0
        for v in model.trainable_variables:
            v.assign(np.full(v.shape, number, "float32"))
        write(model, kind, path)
        sys.stdout.write("written\n")
        sys.stdout.flush()


def main():
    """Kills as many programs as the command line says."""
    if sys.argv[1] == "loop":
        loop(sys.argv[2], pathlib.Path(sys.argv[3]))
    import numpy as np

    times, rng, found = int(sys.argv[1]), random.Random(1), collections.Counter()
    for i in range(times):
        kind = list(KINDS)[i % len(KINDS)]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / KINDS[kind]
            command = [sys.executable, __file__, "loop", kind, str(path)]
            program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            program.stdout.readline()
            start = time.perf_counter()
            program.stdout.readline()  # How long one takes.
            time.sleep(rng.uniform(0, 3 * (time.perf_counter() - start)))
            program.kill()
            program.wait()
            values = {float(x) for array in numbers(kind, path) for x in np.unique(array)}
            whole = len(values) == 1
            left = len(list(pathlib.Path(folder).iterdir())) > 1
            found[f"{kind}: whole" if whole else f"{kind}: BROKEN"] += 1
            found["killed while writing"] += left
        sys.stdout.write(f"{i + 1}: {kind} {sorted(values)[:3]}\n")
        sys.stdout.flush()
    RESULTS.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n")
    sys.stdout.write(f"{dict(found)}\n")
    return any("BROKEN" in key for key in found)


if __name__ == "__main__":
    sys.exit(main())
