"""Readers of the published files."""

import gzip
import pickle

import keras
import numpy as np
import pytest

from experiments.data import characters as texts
from experiments.data import cifar10, parallel, source, strokes


def test_penn_treebank_has_its_symbols_and_line_ends(tmp_path):
    for part, text in (("train", "a _ b\nc _\n"), ("valid", "b a "), ("test", "c _ a\n")):
        (tmp_path / f"ptb.char.{part}.txt").write_text(text)
    with pytest.warns(UserWarning, match="is not the published file"):
        text = texts.penn_treebank(tmp_path)
    assert text.symbols == 5
    assert "".join(text.names[n] for n in text.train) == "a_b\nc_\n"
    # No more line ends than there are.
    assert "".join(text.names[n] for n in text.validation) == "ba"
    assert "".join(text.names[n] for n in text.test) == "c_a\n"


def test_enwik8_is_the_file_of_that_name_and_no_archive_or_folder(tmp_path):
    (tmp_path / "enwik8").mkdir()
    (tmp_path / "enwik8.zip").write_bytes(b"no text")
    with pytest.raises(SystemExit, match="no enwik8 in"):
        texts.enwik8(tmp_path)
    (tmp_path / "enwik8" / "enwik8").write_bytes(bytes(range(40)))
    with pytest.warns(UserWarning, match="is not the published file"):
        text = texts.enwik8(tmp_path)
    assert (text.symbols, len(text.train)) == (40, 36)


def test_a_text_is_divided_in_order():
    text = texts.divided(np.frombuffer(bytes(range(200)), "u1"))
    assert [len(p) for p in (text.train, text.validation, text.test)] == [180, 10, 10]
    np.testing.assert_array_equal(text.test, np.arange(190, 200))
    assert text.symbols == 200


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda path: texts.penn_treebank(path), "no ptb.char.train.txt, ptb.char.valid.txt"),
        (lambda path: texts.enwik8(path), r"no enwik8 in .*mattmahoney"),
        (lambda path: cifar10.load(path), "no data_batch_1, .*cs.toronto.edu"),
        (lambda path: parallel.load(path, "de", "en"), "no train.de in .*multi30k"),
        (lambda path: strokes.load(path), "no lines in .* IAM"),
        (lambda path: source.find(path / "x", ["y"], "Get it."), "x is no directory. Get it."),
        (lambda path: texts.penn_treebank(None), "--data-dir"),
        (lambda path: strokes.load(None), "--data-dir"),
    ],
)
def test_missing_data_are_named_with_where_to_get_them(load, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        load(tmp_path)


def test_cifar10_in_both_versions_of_its_authors(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(256, size=(6, 4, 3072)).astype("u1")
    labels = rng.integers(10, size=(6, 4))
    for kind in ("binary", "python"):
        (tmp_path / kind).mkdir()
    for n, name in enumerate(cifar10.PYTHON):
        table = np.column_stack([labels[n], rows[n]]).astype("u1")
        (tmp_path / "binary" / f"{name}.bin").write_bytes(table.tobytes())
        content = {"data": rows[n], "labels": labels[n].tolist(), "batch_label": "x"}
        (tmp_path / "python" / name).write_bytes(pickle.dumps(content, protocol=2))
    with pytest.warns(UserWarning, match="is not the published file"):
        binary, python = (cifar10.load(tmp_path / kind) for kind in ("binary", "python"))
    for one, other in zip(keras.tree.flatten(binary), keras.tree.flatten(python), strict=True):
        np.testing.assert_array_equal(one, other)
    (images, found), (test, _) = binary
    assert images.shape == (20, 32, 32, 3)
    assert test.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(found, labels[:5].ravel())
    # Planes of red, green and blue, each row by row.
    assert images[0, 2, 5, 1] == rows[0, 0, 1024 + 2 * 32 + 5]


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(pickle.UnpicklingError, match="no place in CIFAR-10"):
        cifar10._python(path)


LINE = """<?xml version="1.0"?><WhiteboardCaptureSession><StrokeSet>
<Stroke><Point x="10" y="20"/><Point x="13" y="24"/></Stroke>
<Stroke><Point x="{x}" y="24"/></Stroke></StrokeSet></WhiteboardCaptureSession>"""


def test_handwriting_from_files_of_both_kinds(tmp_path):
    for name in ("a01-000u-01", "a02-000u-01", "z01-000z-01"):
        (tmp_path / f"{name}.xml").write_text(LINE.format(x=20))
    train, validation, split = strokes.load(tmp_path)
    assert split == "every tenth form"
    assert len(train) == len(validation) == 1
    # How the pen came to the first point is not known. Each coordinate has its own deviation.
    scale = [np.std([0, 3, 7]), np.std([0, 4, 0]), 1]
    wanted = np.array([[0, 0, 0], [3, 4, 1], [7, 0, 1]]) / scale
    np.testing.assert_allclose(train[0], wanted, rtol=1e-6)

    (tmp_path / "npz").mkdir()
    columns = {"dx": [0, 3, 7] * 2, "dy": [0, 4, 0] * 2, "eos": [0, 1, 1] * 2}
    ids = np.array(["a01-000u-01", "a02-000u-01"])
    np.savez(tmp_path / "npz" / "lines.npz", off=[0, 3, 6], ids=ids, **columns)
    again, _, _ = strokes.load(tmp_path / "npz")
    np.testing.assert_allclose(again[0], train[0], rtol=1e-6)


def test_the_deviation_of_many_movements_is_exact(tmp_path, rng):
    moves = rng.normal(8, 40, (400_000, 2)).clip(-500, 500).astype("float32")
    columns = {"dx": moves[:, 0], "dy": moves[:, 1], "eos": np.zeros(400_000)}
    # The first form is chosen on.
    ids = np.array(["a01-000u-01", "a02-000u-01"])
    np.savez(tmp_path / "lines.npz", off=[0, 10, 400_000], ids=ids, **columns)
    (line,), _, _ = strokes.load(tmp_path)
    found = line[:, :2].std(axis=0, dtype="float64")
    np.testing.assert_allclose(found, 1, rtol=1e-6)


def test_the_split_of_graves_learns_from_three_lists_and_chooses_on_one(tmp_path):
    lists = ("trainset.txt", "testset_t.txt", "testset_f.txt", "testset_v.txt")
    for n in range(5):
        (tmp_path / f"a0{n}-000u-01.xml").write_text(LINE.format(x=20 + n))
    for n, name in enumerate(lists[:3]):
        (tmp_path / name).write_text(f"a0{n}-000u\n")
    with pytest.raises(SystemExit, match="testset_v.txt of .* missing"):
        strokes.load(tmp_path)
    (tmp_path / lists[3]).write_text("a03-000u\n")
    # The fourth form is the one that is chosen on, the fifth in no list.
    train, validation, split = strokes.load(tmp_path)
    assert split == "Graves (2013)"
    last = [line[-1, 0] / train[0][-1, 0] for line in (*train, *validation)]
    np.testing.assert_allclose(last, [1, 8 / 7, 9 / 7, 10 / 7], rtol=1e-6)
    assert len(validation) == 1

    (tmp_path / lists[3]).write_text("b01-000u\n")
    with pytest.raises(SystemExit, match="3 lines to learn from and 0 to choose on"):
        strokes.load(tmp_path)


def test_parallel_files_are_read_packed_or_not(tmp_path):
    for part in ("train", "val", "test_2016_flickr"):
        (tmp_path / f"{part}.de").write_text(f"ein {part}\nzwei\n")
        (tmp_path / f"{part}.en.gz").write_bytes(gzip.compress(f"one {part}\ntwo\n".encode()))
    train, _, test = parallel.load(tmp_path, "de", "en")
    assert train == [("ein train", "one train"), ("zwei", "two")]
    assert test[0][1] == "one test_2016_flickr"
