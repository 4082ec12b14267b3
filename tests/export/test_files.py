"""What is written is there as a whole, or what was there before still is."""

import os
import pathlib
import sys
import zipfile

import keras
import pytest

from keras_hyper import ChunkedGenerator, HyperDense, Hypernetwork, export_saved_model
from keras_hyper.export import export_file
from keras_hyper.saving import save_model
from keras_hyper.utils.files import replacing

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


@pytest.fixture(scope="module")
def adapter():
    target = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    return Hypernetwork(target, ChunkedGenerator(3))


WRITE = {
    "model.keras": save_model,
    "adapter.npz": lambda model, path: model.save_adapter(path),
    "saved": lambda model, path: export_saved_model(model, path, xla=False),
}


def read_again(model, path):
    if path.suffix == ".keras":
        keras.saving.load_model(path)
    elif path.suffix == ".npz":
        model.load_adapter(path)
    else:
        import tensorflow as tf

        tf.saved_model.load(str(path))


def foreign(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "mine")


BREAK = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("Dear reader"),
    "foreign": foreign,
}
# The readers of Keras and TensorFlow speak for themselves.
TOLD = {
    "model.keras": (
        (ValueError, KeyError),
        "accessible `.keras` zip file|no item named 'config.json'",
    ),
    "adapter.npz": (
        ValueError,
        "adapter.npz' (could not be read as an adapter|holds the adapter of another)",
    ),
    "saved": (
        (OSError, ValueError, IndexError),
        "Cannot parse file .*saved_model.pb|0 MetaGraphs|Read less bytes|checksum",
    ),
}


@pytest.mark.parametrize("broken", BREAK)
@pytest.mark.parametrize(
    "name",
    ["model.keras", "adapter.npz", pytest.param("saved", marks=pytest.mark.tensorflow)],
)
def test_a_broken_file_is_refused(name, broken, adapter, tmp_path):
    path = tmp_path / name
    WRITE[name](adapter, path)
    read_again(adapter, path)
    parts = [path]
    if path.is_dir():
        parts = [path / "saved_model.pb", *path.glob("variables/variables.data*")]
    for part in parts:
        content = part.read_bytes()
        BREAK[broken](part)
        error, message = TOLD[name]
        with pytest.raises(error, match=message):
            read_again(adapter, path)
        part.write_bytes(content)
        read_again(adapter, path)


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


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (save_model, "a.KERAS"),
        (export_file, "a.ONNX"),
        (export_file, "a.TfLite"),
        (Hypernetwork.save_adapter, "a.NPZ"),
        (Hypernetwork.load_adapter, "a.Npz"),
    ],
)
def test_the_case_of_an_ending_counts(write, name, tmp_path):
    """Keras reads no `.KERAS` either, so that one rule holds for all."""
    model = Hypernetwork(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match=f"`path` must end in.*Received: path=.*{name}"):
        write(model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


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
