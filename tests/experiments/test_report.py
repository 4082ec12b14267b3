"""Tables and curves of results, and the command that they show."""

import json
import sys

import keras
import pytest

from experiments import report
from experiments.machine import about


def result(model, seed, bits, **setting):
    return {
        "experiment": "ptb_char",
        "setting": {"preset": "small", "model": model, "seed": seed, "steps": 10, "batch_size": 4}
        | {"depth": 1}
        | setting,
        "parameters": 1234,
        "best_step": 10,
        "validation": {"bits": bits + 0.1},
        "test": {"bits": bits},
        "seconds": 120,
        "history": [{"step": 5, "val_bits": bits + 1}, {"step": 10, "val_bits": bits + 0.1}],
        "command": f"python -m experiments.ptb_char --model {model} --seed {seed}",
        "commit": "abc",
        "cpu": "a processor",
        "versions": {"keras": "3"},
    }


def test_a_report_has_a_row_for_what_differs_in_the_seed_alone(tmp_path, monkeypatch, capsys):
    results = [result("LSTM", 0, 2.0), result("LSTM", 1, 2.2), result("LSTM", 0, 1.9, depth=2)]
    results.insert(0, result("HyperLSTM", 0, 1.8))
    for n, one in enumerate(results):
        (tmp_path / f"{n}.json").write_text(json.dumps(one))
    begin, end = (mark.format(name="ptb_char_small") for mark in report.MARKS)
    (tmp_path / "results.md").write_text(f"Before.\n\n{begin}\nold\n{end}\nAfter.\n")
    command = ["report", *(str(tmp_path / f"{n}.json") for n in range(4))]
    monkeypatch.setattr(sys, "argv", command)
    report.main()
    text = capsys.readouterr().out
    assert "| LSTM, depth 1 | 1,234 | 2 | 2.100 ± 0.141 | 2.200 ± 0.141 | 10 | 2 | 1.312 |" in text
    assert "| LSTM, depth 2 | 1,234 | 1 | 1.900 | 2.000 | 10 | 2 |  |" in text
    # In the order of the paper.
    assert text.index("| LSTM") < text.index("| HyperLSTM")
    assert "python -m experiments.ptb_char --model LSTM --data-dir DIR --seed N\n" in text

    monkeypatch.setattr(sys, "argv", [*command, "--write", str(tmp_path)])
    report.main()
    page = (tmp_path / "results.md").read_text()
    assert page.startswith("Before.")
    assert page.endswith("After.\n")
    assert "old" not in page
    assert text.strip() in page
    first = (tmp_path / "results_ptb_char_small.svg").read_text()
    assert "<!-- bits per character, validation -->" in first
    assert "<!-- HyperLSTM, depth 1 -->" in first
    report.main()
    assert (tmp_path / "results_ptb_char_small.svg").read_text() == first
    (tmp_path / "4.json").write_text((tmp_path / "1.json").read_text())
    with pytest.raises(SystemExit, match="two runs of python -m experiments.ptb_char"):
        report.grouped(report.read([tmp_path]))
    (tmp_path / "results.md").write_text("No marks.")
    with pytest.raises(SystemExit, match="has no <!-- experiments.report: ptb_char_small"):
        report.main()


def test_of_several_learning_rates_the_best_is_set_in_bold_and_drawn(tmp_path):
    results = [
        # Best with its first seed, not on average.
        result("LSTM", 0, 2.0, learning_rate=0.01),
        result("LSTM", 1, 2.6, learning_rate=0.01),
        result("LSTM", 0, 2.2, learning_rate=0.003),
        result("LSTM", 1, 2.2, learning_rate=0.003),
        # Best on the test data, not on the validation data.
        result("LSTM", 0, 1.5, learning_rate=0.03) | {"validation": {"bits": 2.4}},
        result("LSTM", 1, 1.5, learning_rate=0.03) | {"validation": {"bits": 2.4}},
        # Best with its only seed.
        result("LSTM", 0, 1.0, learning_rate=0.02),
        result("HyperLSTM", 0, 1.9, learning_rate=0.003),
    ]
    (rows,) = report.grouped(results).values()
    text = report.table("ptb_char_small", rows)
    bold = [line.split(" | ")[0] for line in text.splitlines() if "**" in line]
    assert bold == ["| **LSTM, learning rate 0.003**"]
    assert "| LSTM, learning rate 0.01 |" in text
    assert "Bold" in text
    (alone,) = report.grouped(results[:2]).values()
    assert "Bold" not in report.table("ptb_char_small", alone)
    report.curves(rows, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "<!-- LSTM, learning rate 0.003 -->" in drawn
    assert "<!-- HyperLSTM, learning rate 0.003 -->" in drawn
    assert "<!-- LSTM, learning rate 0.01 -->" not in drawn


def test_a_command_is_kept_without_the_directories_of_whoever_ran_it(monkeypatch):
    line = "x/ptb_char.py --model=LSTM --data-dir /home/me --seed 1 --out=/tmp/x --text /home/a.txt"
    monkeypatch.setattr(sys, "argv", line.split())
    found = about(["pytest"])
    backend = keras.backend.backend()
    chosen = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
    told = f"{chosen}python -m experiments.ptb_char --model LSTM --seed 1 --text a.txt"
    assert found["command"] == told
    assert found["versions"]["pytest"] == pytest.__version__
    assert keras.__version__ == found["versions"]["keras"]
