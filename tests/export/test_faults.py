"""Whenever a program ends that writes a file, one whole file is there."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parents[1]


@pytest.mark.tensorflow  # What is written is the backend's; how, is not.
@pytest.mark.parametrize(
    "name",
    [
        "model.keras",
        pytest.param("adapter.npz", marks=pytest.mark.long),
        pytest.param("saved", marks=pytest.mark.long),
        pytest.param("model.tflite", marks=pytest.mark.long),
    ],
)
def test_what_was_there_is_there_until_the_new_one_is_whole(name, tmp_path):
    command = [sys.executable, TESTS / "export" / "faults.py", tmp_path, name]
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    by_bytes = [r for r in results if r["at"] == "killed at byte"]
    assert [r["code"] for r in by_bytes] == 3 * [-signal.SIGXFSZ]
    full = [r for r in results if r["at"] == "full disk"]
    assert [(r["code"], r["left"]) for r in full] == 3 * [(7, 0)]
    assert {r["found"] for r in by_bytes + full} == {"older"}
    calls = [(r["code"], r["found"]) for r in results if r["at"] == "call"]
    older = calls.index((9, "newer"))
    assert older > 2  # Making a folder, opening or filling it, renaming.
    assert calls == older * [(9, "older")] + (len(calls) - older - 1) * [(9, "newer")] + [
        (0, "newer")
    ]
    assert results[-1]["left"] == 0
