"""What is written is there as a whole, or what was there before still is."""

import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper import HyperDense
from keras_hyper.files import replacing
from keras_hyper.saving import save_model

PARTS = ("inner", "b")


def write(path, text, folder):
    if folder:
        (path / "inner").mkdir()
        (path / "inner" / "a").write_text(text)
        path = path / "b"
    path.write_text(text)


def read(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(p.relative_to(path.parent)): p.read_text() for p in files if p.is_file()}


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_or_folder_is_replaced_as_a_whole(folder, tmp_path):
    path = tmp_path / "it"
    for text in ("old", "new"):
        with replacing(path, folder, PARTS) as temporary:
            write(temporary, text, folder)
            before = read(path) if path.exists() else None
        assert set(read(path).values()) == {text}
        assert before is None or set(before.values()) == {"old"}
        assert [p.name for p in tmp_path.iterdir()] == ["it"]


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("exchange", [True, False])
def test_what_fails_leaves_what_was_there(folder, exchange, tmp_path, monkeypatch):
    path = tmp_path / "it"
    with replacing(path, folder, PARTS) as temporary:
        write(temporary, "old", folder)

    def interrupted():
        with replacing(path, folder, PARTS) as temporary:
            write(temporary, "new", folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(read(path).values()) == {"old"}
    rename, calls = os.replace, []

    def failing(source, target):
        calls.append(target)
        if pathlib.Path(target) == path and len(calls) < 3:
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr(os, "replace", failing)
    if not exchange:  # As on other systems than Linux.
        monkeypatch.setattr(sys, "platform", "other")
    if not (folder and exchange):
        with pytest.raises(OSError, match="no"), replacing(path, folder, PARTS) as temporary:
            write(temporary, "new", folder)
        assert set(read(path).values()) == {"old"}
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


# Ends the process at the n-th call of what is named, as a kill at that moment would.
KILLED = """
import builtins, os, sys, zipfile
import numpy as np
import keras
from keras_hyper import HyperDense
from keras_hyper.saving import save_model

model = keras.Sequential([keras.Input((4,)), HyperDense(3)])
model.set_weights([np.ones(w.shape) for w in model.get_weights()])
module, name = {"open": (builtins, "open"), "replace": (os, "replace"),
                "write": (zipfile.ZipFile, "writestr")}[sys.argv[2]]
left, real = int(sys.argv[3]), getattr(module, name)

def call(*args, **kwargs):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    return real(*args, **kwargs)

setattr(module, name, call)
save_model(model, sys.argv[1])
"""

FULL = """
import resource, sys, signal
import numpy as np
import keras
from keras_hyper import HyperDense
from keras_hyper.saving import save_model

model = keras.Sequential([keras.Input((200,)), HyperDense(300)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    save_model(model, sys.argv[1])
except OSError as error:
    sys.exit(7)
"""


def run(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    root = str(pathlib.Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), HyperDense(3)])
    save_model(model, tmp_path / "model.keras")
    x = np.ones((2, 4), "float32")

    def check():
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(model(x)))

    return tmp_path / "model.keras", check


@pytest.mark.parametrize("where", ["open", "write", "replace"])
def test_a_killed_save_leaves_the_older_model(where, saved):
    path, check = saved
    done = run(KILLED, path, where, 0)
    assert done.returncode == 9, done.stderr[-1000:]
    check()


def test_a_full_disk_leaves_the_older_model(saved):
    path, check = saved
    done = run(FULL, path, 5000)
    assert done.returncode == 7, done.stderr[-1000:]
    check()
    assert [p.name for p in path.parent.iterdir()] == ["model.keras"]


@pytest.mark.parametrize("what", ["truncated", "empty", "foreign", "text"])
def test_a_broken_file_is_refused(what, saved, tmp_path):
    path, _ = saved
    content = path.read_bytes()
    broken = tmp_path / "broken.keras"
    if what == "foreign":
        with zipfile.ZipFile(broken, "w") as archive:
            archive.writestr("a.txt", "mine")
    else:
        broken.write_bytes(
            {"truncated": content[: len(content) // 2], "empty": b""}.get(what, b"x")
        )
    with pytest.raises((ValueError, OSError, KeyError)):
        keras.saving.load_model(broken)


class Evil(keras.layers.Layer):
    """A layer that is not registered: its name in a file must not import it."""


def test_loading_executes_no_code(tmp_path):
    code = keras.layers.Lambda(lambda x: x + 1)
    keras.Sequential([keras.Input((2,)), HyperDense(2), code]).save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="safe_mode"):
        keras.saving.load_model(tmp_path / "lambda.keras")
    keras.Sequential([keras.Input((2,)), HyperDense(2), Evil()]).save(tmp_path / "evil.keras")
    with pytest.raises((TypeError, ValueError), match="Evil"):
        keras.saving.load_model(tmp_path / "evil.keras")


def test_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), HyperDense(3)])
    with pytest.raises(TypeError, match="must be a Keras model"):
        save_model(HyperDense(3), tmp_path / "a.keras")
    with pytest.raises(ValueError, match="must end in '.keras'"):
        save_model(model, tmp_path / "a.h5")
    with pytest.raises(FileNotFoundError, match="Create it first"):
        save_model(model, tmp_path / "none" / "a.keras")
    (tmp_path / "b.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save_model(model, tmp_path / "b.keras")


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "notes.txt").write_text("mine")
    with (
        pytest.raises(FileExistsError, match=r"would be lost: \['notes.txt'\]"),
        replacing(tmp_path / "it", True, PARTS),
    ):
        pass
    assert (tmp_path / "it" / "notes.txt").read_text() == "mine"


def test_links_are_written_through_and_modes_kept(tmp_path):
    (tmp_path / "v1").write_text("old")
    (tmp_path / "v1").chmod(0o664)
    (tmp_path / "current").symlink_to("v1")
    with replacing(tmp_path / "current") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "current").is_symlink()
    assert (tmp_path / "v1").read_text() == "new"
    assert (tmp_path / "v1").stat().st_mode & 0o777 == 0o664
