"""The character models: equal sizes, and runs that go on where they were left."""

import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture
def experiment():
    path = ROOT / "experiments" / "character_model.py"
    spec = importlib.util.spec_from_file_location("character_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_models_are_of_equal_size(experiment):
    for setting in experiment.MODELS.values():
        units = experiment.units_for(20_000, 30, setting)
        assert experiment.parameters(30, units, setting) <= 20_000
        assert experiment.parameters(30, units + 1, setting) > 20_000
    with pytest.raises(SystemExit, match="--parameters 5000 is too few"):
        experiment.units_for(5_000, 30, experiment.MODELS["HyperLSTM"])


def test_each_character_is_followed_by_the_next(experiment):
    text = experiment.Text("abcdefghij" * 40, length=7)
    x, y = text.samples(5, seed=0)
    assert x.shape == y.shape == (5, 7)
    np.testing.assert_array_equal((x + 1) % 10, y)
    parts = [text.train, text.validation, text.test]
    assert [len(part) for part in parts] == [360, 20, 20]
    x, y = text.in_order(text.test)
    np.testing.assert_array_equal(x.ravel(), text.test[:14])
    np.testing.assert_array_equal(y.ravel(), text.test[1:15])


def test_a_run_goes_on_where_it_was_left(experiment, tmp_path, monkeypatch, capsys):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    out = tmp_path / "report.json"
    command = "character_model --models LSTM --parameters 4000 --rates 0.01 0.02 --batch 4"
    command += f" --updates 3 --length 5 --seeds 2 --text {tmp_path / 'text.txt'} --out {out}"
    # Compiled only where every operation would otherwise be compiled for itself.
    command += " --jit" if keras.backend.backend() == "jax" else " --no-jit"
    monkeypatch.setattr(sys, "argv", command.split())
    assert experiment.main() == 0
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
    experiment.main()
    again = json.loads(out.read_text())["runs"]
    assert len(trained) == 1
    assert again[2]["test"] == pytest.approx(runs[2]["test"], rel=1e-4)
    assert "| LSTM |" in capsys.readouterr().out

    monkeypatch.setattr(sys, "argv", [*command.split(), "--updates", "4"])
    with pytest.raises(SystemExit, match="Name another file with --out"):
        experiment.main()


@pytest.mark.parametrize("name", ["character_models", "character_model_starts"])
def test_the_tables_of_results_are_those_of_their_runs(experiment, name):
    report = json.loads((ROOT / "docs" / f"{name}.json").read_text())
    rows = experiment.table(report)
    assert len(rows) == 6
    assert "\n".join(rows) in (ROOT / "docs" / "results.md").read_text()
