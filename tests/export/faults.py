"""Ends programs at every moment of writing a file, and tells what they leave.

    python faults.py FOLDER NAME

NAME is one of `WRITERS`. Prints a line of JSON for each end: at what; the code of the
exit; what is there then: "older", "newer", or "broken"; and how many files more.
The last line is of the program that was left to end by itself.
"""

import functools
import itertools
import json
import os
import pathlib
import resource
import signal
import sys

import keras
import numpy as np
from keras import layers

from keras_hyper import ChunkedGenerator, Hypernetwork, export_saved_model
from keras_hyper.export import export_file
from keras_hyper.saving import save_model

WRITERS = {
    "model.keras": save_model,
    "adapter.npz": lambda model, path: model.save_adapter(path),
    "saved": lambda model, path: export_saved_model(model, path, xla=False),
    "model.tflite": lambda model, path: export_file(model, path, batch_size=2),
}
EVENTS = ("open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir", "shutil.rmtree")
X = np.ones((2, 30), "float32")


def make(number):
    """Returns a model of which every weight is a number."""
    target = keras.Sequential([keras.Input((30,)), layers.Dense(20), layers.Dense(2)])
    model = Hypernetwork(target, ChunkedGenerator(10, embedding_dim=4))
    for v in model.trainable_variables:
        v.assign(np.full(v.shape, number, "float32"))
    return model


def read(path):
    """Returns what the model that was written makes of `X`."""
    if path.suffix == ".keras":
        outputs = keras.saving.load_model(path)(X)
    elif path.suffix == ".npz":
        model = make(0.0)
        model.load_adapter(path)
        outputs = model(X)
    else:
        import tensorflow as tf

        if path.suffix == ".tflite":
            model = tf.lite.Interpreter(str(path)).get_signature_runner()
            return next(iter(model(**{"inputs": X}).values()))
        outputs = tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant(X))
        return outputs["outputs"].numpy()
    return keras.ops.convert_to_numpy(outputs)


def content(path):
    """Returns the bytes of a file, or of all in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files if p.is_file()}


def apart(function):
    """Runs a function in a process of its own, which ends; returns the code of its exit."""
    child = os.fork()
    if child == 0:
        code = 7
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_at_call(folder, count):
    """Ends the process at one of its calls to the system that concern a folder."""

    def hook(event, args):
        nonlocal count
        paths = [os.fsdecode(a) for a in args if isinstance(a, str | bytes | os.PathLike)]
        exchange = event == "ctypes.dlsym" and args[1] == "renameat2"
        count -= exchange or (event in EVENTS and any(folder in path for path in paths))
        if count < 0:
            os._exit(9)

    sys.addaudithook(hook)


def end_at_byte(size, killed):
    """Ends the process where a file gets longer than a size; or fails, as a full disk would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if killed else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def main():
    folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    path, write = folder / name, WRITERS[name]
    assert apart(lambda: write(make(1.0), path)) == 0
    before, newer = content(path), folder / "newer.npy"

    def save_outputs():
        np.save(newer, keras.ops.convert_to_numpy(make(2.0)(X)))

    def compare():
        np.testing.assert_allclose(read(path), np.load(newer), rtol=1e-4)

    assert apart(save_outputs) == 0

    def attempt(at, end):
        def fail():
            model = make(2.0)
            end()
            write(model, path)

        others = len(list(folder.iterdir()))
        code = apart(fail)
        found = "older" if content(path) == before else "newer" if apart(compare) == 0 else "broken"
        left = len(list(folder.iterdir())) - others
        if found == "newer":
            assert apart(lambda: write(make(1.0), path)) == 0
            before.clear()
            before.update(content(path))
        result = {"at": at, "code": code, "found": found, "left": left}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        return code

    largest = max(map(len, before.values()))
    for at, killed in (("killed at byte", True), ("full disk", False)):
        for size in (0, largest // 2, largest - 1):
            attempt(at, functools.partial(end_at_byte, size, killed))
    calls = itertools.count()
    while attempt("call", functools.partial(end_at_call, str(folder), next(calls))):
        pass


if __name__ == "__main__":
    main()
