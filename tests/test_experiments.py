"""The experiments: equal sizes, their data, and runs that go on where they were left."""

import gzip
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Last, so that the package which is tested is the one that is installed.
sys.path.append(str(ROOT))

from experiments import character_model, split_mnist  # noqa: E402
from experiments.data.mnist import load as load_mnist  # noqa: E402


def test_models_are_of_equal_size():
    for setting in character_model.MODELS.values():
        units = character_model.units_for(20_000, 30, setting)
        assert character_model.parameters(30, units, setting) <= 20_000
        assert character_model.parameters(30, units + 1, setting) > 20_000
    with pytest.raises(SystemExit, match="--parameters 5000 is too few"):
        character_model.units_for(5_000, 30, character_model.MODELS["HyperLSTM"])


def test_each_character_is_followed_by_the_next():
    text = character_model.Text("abcdefghij" * 40, length=7)
    x, y = text.samples(5, seed=0)
    assert x.shape == y.shape == (5, 7)
    np.testing.assert_array_equal((x + 1) % 10, y)
    parts = [text.train, text.validation, text.test]
    assert [len(part) for part in parts] == [360, 20, 20]
    x, y = text.in_order(text.test)
    np.testing.assert_array_equal(x.ravel(), text.test[:14])
    np.testing.assert_array_equal(y.ravel(), text.test[1:15])


def test_a_run_goes_on_where_it_was_left(tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    out = tmp_path / "report.json"
    command = "character_model --models LSTM --parameters 4000 --rates 0.01 0.02 --batch 4"
    command += f" --updates 3 --length 5 --seeds 2 --text {tmp_path / 'text.txt'} --out {out}"
    # Compiled only where every operation would otherwise be compiled for itself.
    command += " --jit" if keras.backend.backend() == "jax" else " --no-jit"
    monkeypatch.setattr(sys, "argv", command.split())
    assert character_model.main() == 0
    report = json.loads(out.read_text())
    runs = report["runs"]
    assert [r["seed"] for r in runs] == [0, 0, 1]
    assert {r["rate"] for r in runs[:2]} == {0.01, 0.02}
    assert runs[2]["rate"] == min(runs[:2], key=lambda r: r["validation"])["rate"]
    assert all(0 < r["test"] < 10 and r["parameters"] <= 4000 for r in runs)

    report["runs"] = runs[:2]
    out.write_text(json.dumps(report))
    trained = []
    fit = keras.Model.fit
    monkeypatch.setattr(keras.Model, "fit", lambda *a, **k: trained.append(1) or fit(*a, **k))
    character_model.main()
    again = json.loads(out.read_text())["runs"]
    assert len(trained) == 1
    assert again[2]["test"] == pytest.approx(runs[2]["test"], rel=1e-4)
    assert "| LSTM |" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", [*command.split(), "--updates", "4"])
    with pytest.raises(SystemExit, match="Name another file with --out"):
        character_model.main()


@pytest.mark.parametrize("name", ["character_models", "character_model_starts"])
def test_the_tables_of_results_are_those_of_their_runs(name):
    report = json.loads((ROOT / "docs" / f"{name}.json").read_text())
    rows = character_model.table(report)
    assert len(rows) == 6
    assert "\n".join(rows) in (ROOT / "docs" / "results.md").read_text()


# Files of our own are not those of its authors.
pytestmark = pytest.mark.filterwarnings("ignore:.* is not the published file")


@pytest.fixture
def mnist(tmp_path):
    """Returns a directory with files like those of MNIST, of ten easy images each."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 200), ("t10k", 50)):
        labels = np.arange(count, dtype="u1") % 10
        images = rng.integers(0, 60, (count, 28, 28)).astype("u1")
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4] = 255
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            with gzip.open(tmp_path / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
    return tmp_path


def test_mnist_from_the_files_of_its_authors(mnist):
    (x, y), (x_test, y_test) = load_mnist(mnist)
    assert x.shape == (200, 28, 28, 1)
    assert x_test.shape == (50, 28, 28, 1)
    assert x.max() == 1
    np.testing.assert_array_equal(y_test, np.arange(50) % 10)
    images, labels = split_mnist.digits((x, y), 1)
    assert len(images) == len(labels) == 40
    np.testing.assert_array_equal(labels[:4], [0, 1, 0, 1])
    # The white rows of a three are below those of a two.
    assert images[labels == 1][:, 9 * 28].min() == 1
    assert images[labels == 0][:, 9 * 28].max() < 1


def test_split_mnist_runs_and_goes_on(mnist, tmp_path, monkeypatch, capsys):
    out = tmp_path / "report.json"
    command = f"split_mnist --data {mnist} --updates 2 --batch 8 --strengths 0 --out {out}"
    monkeypatch.setattr(split_mnist, "TASKS", split_mnist.TASKS[:2])
    monkeypatch.setattr(sys, "argv", [*command.split(), "--seeds", "1"])
    assert split_mnist.main() == 0
    (first,) = json.loads(out.read_text())["runs"]
    assert first["parameters"] <= 88_542 < first["generated"] == 88_802
    assert len(first["final"]) == 2
    monkeypatch.setattr(sys, "argv", [*command.split(), "--seeds", "2"])
    assert split_mnist.main() == 0
    report = json.loads(out.read_text())
    assert report["runs"][0] == first
    assert [r["seed"] for r in report["runs"]] == [0, 1]
    assert "0 (off)" in capsys.readouterr().out


def test_batches_are_passes_over_all_images():
    chosen = split_mnist.batches(np.random.default_rng(0), size=10, updates=7, batch=4)
    assert len(chosen) == 28
    assert sorted(chosen[:10]) == sorted(chosen[10:20]) == list(range(10))
