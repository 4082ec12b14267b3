"""Every Python block in README and docs runs, in order, in one namespace a page."""

import dataclasses
import inspect
import json
import pathlib
import pydoc
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_hyper
from benchmarks import generator_costs
from experiments import report
from helpers import CAN_EXPORT

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_code_runs(page, capsys):
    if page.name == "export.md" and not CAN_EXPORT:
        pytest.skip("needs TensorFlow, and a backend that exports")
    namespace = {}
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), namespace)
    assert "keras" in namespace


# Blocks that no test runs, by what they begin with, and why.
NOT_RUN = {
    "docker run": "TensorFlow Serving has no package to install from",
    "pip install tensorflow-cpu nvidia-pytriton": "a server: run by `tox run -e triton`",
    "from pytriton.client": "a client of that server",
    "mnet = MLP": "hypnettorch",
    "cell = HyperLSTMCell": "supercell, for TensorFlow 1",
    "kernel_and_bias = ne": "neurite, for Keras 2",
    "routing = tf.keras": "edward2, for Keras 2",
    "hyper = TorchLinear": "hyper-nn, for PyTorch",
    "python -m experiments": "hours, on data that is downloaded",
    "python3 -m pip install": "the commands of the README, run from a clean clone",
    "KERAS_BACKEND=jax python train.py": "a program of the reader's",
    "keras-hyper summary": "the console script, run by tests/export/test_cli.py",
    "class Generator": "an interface in words",
    "keras_hyper/": "a list of files",
}


def test_blocks_that_are_not_run_are_known():
    found = []
    for page in PAGES:
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.M | re.S):
            if kind != "python":
                found += [block]
    starts = {start: [b for b in found if b.lstrip().startswith(start)] for start in NOT_RUN}
    assert all(starts.values()), [start for start, of in starts.items() if not of]
    assert sorted(found) == sorted(b for of in starts.values() for b in of)


def test_the_readme_has_code_and_the_two_commands():
    text = (ROOT / "README.md").read_text()
    assert len(blocks(ROOT / "README.md")) >= 3
    for environment in ("quickstart", "tests"):
        assert f"\npython3 -m pip install tox && tox run -e {environment}\n" in text


def test_the_example_of_keras_own_guide_is_short_and_learns():
    text = (ROOT / "docs" / "any_model.md").read_text()
    first, *_ = blocks(ROOT / "docs" / "any_model.md")
    recipe = re.search(
        r"## The hypernetwork of Keras's guide.*?```python\n(.*?)```", text, re.DOTALL
    )
    lines = [line for line in recipe[1].splitlines() if line.strip()]
    assert len(lines) <= 20
    namespace = {}
    exec(first + recipe[1], namespace)
    losses = namespace["history"].history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_every_name_of_the_package_is_public():
    names = {n for n, value in vars(keras_hyper).items() if not inspect.ismodule(value)}
    assert {n for n in names if not n.startswith("__")} == set(keras_hyper.__all__)


DOCUMENTED = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)


def test_every_public_name_is_in_the_api():
    assert {f"keras_hyper.{name}" for name in keras_hyper.__all__} <= set(DOCUMENTED)


# What only other functions make, and bases without an object of their own.
NO_EXAMPLE = {"Exported", "GeneratorSummary", "HyperBaseConv", "Kernel", "Plan", "Summary"}
NO_EXAMPLE |= {"WeightRecord", "WeightSummary"}


def documented(thing):
    """Returns the arguments that a docstring explains, or that it explains by a reference.

    A reference is a sentence "Takes the arguments of `keras.layers.Twin`, then `argument` and
    `argument` as in `Layer`."
    """
    text = inspect.cleandoc(thing.__doc__)
    found = set(re.findall(r"^    [`*]*(\w+)`?: ", text.partition("\nArgs:\n")[2], re.MULTILINE))
    reference = re.search(
        r"Takes the arguments of (?:the stock layer|`(.+?)`)(?:, then (.+?) as in `(\w+)`)?",
        " ".join(text.split()),
    )
    twin, names, layer = reference.groups() if reference else (None, None, None)
    if twin:
        assert pydoc.locate(twin) is thing.stock
        found |= set(inspect.signature(thing.stock.__init__).parameters)
    if names:
        names = set(re.findall(r"`(\w+)`", names))
        assert names <= documented(getattr(keras_hyper, layer))
        found |= names
    return found


@pytest.mark.parametrize("path", DOCUMENTED)
def test_every_public_name_has_shapes_errors_and_an_example(path):
    thing = pydoc.locate(path)
    text = inspect.cleandoc(thing.__doc__)
    assert ("\n    >>> " in text) is (thing.__name__ not in NO_EXAMPLE)
    if dataclasses.is_dataclass(thing) and thing.__name__ in NO_EXAMPLE:
        fields = {field.name for field in dataclasses.fields(thing)}
        assert fields == set(re.findall(r"^    (\w+): ", text.split("Attributes:")[1], re.M))
        return
    if inspect.isclass(thing) and issubclass(thing, keras.Layer):
        for heading in ("Call arguments", "Output shape", "Raises"):
            assert f"\n{heading}:\n    " in text, heading
    if inspect.isfunction(thing) and "raise " in inspect.getsource(thing):
        assert "\nRaises:\n    " in text
    explained = documented(thing)
    call = thing.__init__ if inspect.isclass(thing) else thing
    for name, parameter in inspect.signature(call).parameters.items():
        starred = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        assert name in explained or name == "self" or starred, name


@pytest.mark.parametrize(
    "runs",
    [
        ["benchmarks.json", "benchmarks_baked.json"],
        ["benchmarks_recurrent.json", "benchmarks_recurrent_threads.json"],
        ["benchmarks_target.json"],
        ["benchmarks_serving.json"],
        ["benchmarks_callback.json"],
    ],
    ids=lambda runs: runs[0],
)
def test_the_tables_of_benchmarks_are_those_of_their_run(runs):
    command = [sys.executable, "-m", "benchmarks.report", *(f"docs/{run}" for run in runs)]
    tables = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    results = [r for run in runs for r in json.loads((ROOT / "docs" / run).read_text())["results"]]
    assert len(results) >= 5
    assert all(f"| {result['candidate']} |" in tables for result in results)
    assert tables in (ROOT / "docs" / "benchmarks.md").read_text()


def test_the_table_of_costs_is_that_of_its_run_and_its_formulas_hold():
    found = json.loads((ROOT / "docs" / "generator_costs.json").read_text())
    text = (ROOT / "docs" / "choosing_a_generator.md").read_text()
    assert "\n".join(generator_costs.table(found)) in text
    rows = [row["static"] for row in next(iter(found.values())).values()]
    size = 256 * 256
    products = [0, 256 * 16 * 16 * 32, 256 * (16 * 32 + 32 * 256), 8 * 8 * 512 + 8 * size]
    products += [4 * size, 8 * size, 8 * 16 + 16 * size]
    operations = [2 * (32 * size + p) for p in products]
    # Beside products there are additions and scales.
    np.testing.assert_allclose([r["operations"] for r in rows[:7]], operations, rtol=0.05)
    tiles = (16 * 16 * 17 + 16 * 17, 256 * 16)
    chunks = (16 * 32 + 32 + 33 * 256, 256 * 16)
    assert [sum(tiles), sum(chunks), 9 * 8 * 512 + 8] == [r["stored"] for r in rows[1:4]]
    assert round((tiles[0] / 10 + tiles[1]) / size, 2) == 0.07


def test_the_tables_of_results_are_those_of_their_runs():
    page = (ROOT / "docs" / "results.md").read_text()
    groups = report.grouped(report.read([ROOT / "docs" / "results"]))
    assert len(groups) == page.count("<!-- experiments.report")
    for name, rows in groups.items():
        assert report.table(name, rows) in page
        # Else nobody knows which program it was.
        assert all(r["commit"] for results in rows.values() for r in results)
    figures = json.loads((ROOT / "docs" / "results" / "figures.json").read_text())
    shares = [name for name, found in figures.items() if "|tanh c| > 0.9" in found]
    assert len(shares) >= 4
    strokes = {name: f.values() for name, f in figures.items() if "moves within strokes" in f}
    assert len(strokes) == 2
    for name, (within, between) in strokes.items():
        assert f"| {name} | {within} | {between} |" in page
    for name in shares:
        share, *moves = figures[name].values()
        assert f"| {name} | {' | '.join(map(str, [share, *(moves or ['', ''])]))} |" in page


def test_the_table_of_tpus_is_that_of_its_run():
    found = json.loads((ROOT / "docs" / "tpu.json").read_text())
    text = (ROOT / "docs" / "xla.md").read_text()
    assert len(found) > 20
    for name, figures in found.items():
        assert f"| {name} | {figures['float32, 1']['operations']:,} | " in text


def test_the_table_of_streaming_clients_is_that_of_its_run():
    found = json.loads((ROOT / "docs" / "throughput.json").read_text())
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert len(found) == 6
    for name, figures in found.items():
        row = f"| {name} | {figures['steps a second']} | {figures['milliseconds']} |"
        assert row in text


def test_what_is_said_of_killed_programs_is_what_was_found():
    found = json.loads((ROOT / "docs" / "kills.json").read_text())
    killed = found.pop("killed while writing")
    assert all(key.endswith(": whole") for key in found)
    text = " ".join((ROOT / "docs" / "export.md").read_text().split())
    assert f"killed {sum(found.values())} times at random moments, {killed} times while" in text


def test_a_star_import_does_not_hide_keras():
    namespace = {}
    exec("from keras_hyper import *", namespace)
    assert not {"layers", "ops", "models", "initializers"} & namespace.keys()
