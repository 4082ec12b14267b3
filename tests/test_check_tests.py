"""The check that no test gets lost, on reports of pytest's own."""

import pathlib
import subprocess
import sys

import pytest

from tooling import check_tests

ROOT = pathlib.Path(__file__).parent.parent
FILES = {
    "test_runs.py": "def test_a():\n    pass\n\n\ndef test_b():\n    pass\n",
    "part/test_deep.py": "class TestIt:\n    def test_it(self):\n        pass\n",
}
# What a file has, and what is said of it when backend A alone ran, and when A and B ran.
FAULTY = {
    "no test": ("def tset_a():\n    pass\n", "collects no test", "collects no test"),
    "whole skip": (
        "import pytest\n\npytest.skip('never', allow_module_level=True)\n",
        "collects no test",
        "collects no test",
    ),
    "marked skips": (
        "import pytest\n\n\n@pytest.mark.skip\ndef test_a():\n    pass\n",
        "skipped as a whole",
        "skipped as a whole",
    ),
    "skips on A": (
        "import os\n\nimport pytest\n\n\n"
        "@pytest.mark.skipif(os.environ['BACKEND'] == 'A', reason='A')\ndef test_a():\n    pass\n",
        "skipped as a whole",
        None,
    ),
    "not collected on A": (
        "import os\n\nimport pytest\n\n"
        "if os.environ['BACKEND'] == 'A':\n    pytest.skip('A', allow_module_level=True)\n\n\n"
        "def test_a():\n    pass\n",
        "collects no test",
        None,
    ),
    "expected failure": (
        "import pytest\n\n\n@pytest.mark.xfail\ndef test_a():\n    assert False\n",
        None,
        None,
    ),
}


def reports(folder, monkeypatch, files):
    """Runs pytest over files as backend A and as backend B, and returns the JUnit files."""
    (folder / "setup.cfg").write_text("[tool:pytest]\naddopts = --import-mode=importlib\n")
    for name, text in files.items():
        (folder / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tests" / name).write_text(text)
    found = []
    for backend in "AB":
        monkeypatch.setenv("BACKEND", backend)
        found.append(folder / f"{backend}.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "tests"]
        subprocess.run([*command, "--junit-xml", str(found[-1])], cwd=folder, check=False)
    return found


@pytest.fixture(scope="module")
def every_run(tmp_path_factory):
    """Returns the folder of the tests and the reports of all files, right and faulty."""
    folder = tmp_path_factory.mktemp("suite")
    faulty = {f"test_{name.replace(' ', '_')}.py": text for name, (text, *_) in FAULTY.items()}
    with pytest.MonkeyPatch.context() as patch:
        return folder / "tests", reports(folder, patch, {**FILES, **faulty})


@pytest.mark.parametrize("name", FAULTY)
def test_a_file_that_tests_nothing_is_found(every_run, name):
    folder, (a, b) = every_run
    for runs, message in zip(([a], [a, b]), FAULTY[name][1:], strict=True):
        found, _ = check_tests.problems(folder, 0, runs)
        about = [line for line in found if f"test_{name.replace(' ', '_')}.py" in line]
        assert len(about) == (message is not None)
        assert all(message in line for line in about)


def test_files_that_run_are_right(every_run):
    folder, runs = every_run
    found, _ = check_tests.problems(folder, 0, runs)
    assert not [line for line in found if "test_runs.py" in line or "test_deep.py" in line]


def test_fewer_tests_than_expected_are_found(every_run):
    folder, runs = every_run
    _, total = check_tests.problems(folder, 0, runs)
    # Per run two, one in a class, one with a mark and one expected to fail; one test
    # on one backend, one skipped on one.
    assert total == 2 * (2 + 1 + 1 + 1) + 1 + 2
    sentence = f"{total} tests were collected, {total + 1} are expected."
    assert sentence in check_tests.problems(folder, total + 1, runs)[0]
    assert sentence not in check_tests.problems(folder, total, runs)[0]


def test_a_name_that_begins_like_another_is_another_file(tmp_path):
    (tmp_path / "tests").mkdir()
    for name in ("test_a", "test_ab"):
        (tmp_path / "tests" / f"{name}.py").touch()
    report = tmp_path / "run.xml"
    report.write_text('<testsuite><testcase classname="tests.test_ab" name="test"/></testsuite>')
    (found,) = check_tests.problems(tmp_path / "tests", 0, [report])[0]
    assert "test_a.py" in found


def test_folders_of_another_environment_are_left_out(tmp_path):
    for name in check_tests.OTHER:
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / "test_a.py").touch()
        assert name in (ROOT / "setup.cfg").read_text()
        assert f"tests/{name}" in (ROOT / "tox.ini").read_text()
    assert check_tests.problems(tmp_path / "tests", 0, []) == ([], 0)


def test_the_command_fails_where_something_is_wrong(every_run, tmp_path, capsys):
    folder, runs = every_run
    (tmp_path / "minimum").write_text("1\n")
    arguments = [str(folder), str(tmp_path / "minimum"), *map(str, runs)]
    assert check_tests.main(arguments) == 1
    assert "is skipped as a whole in every run." in capsys.readouterr().out
    right = tmp_path / "tests"
    right.mkdir()
    assert check_tests.main([str(right), *arguments[1:]]) == 0
    (tmp_path / "minimum").write_text("1000\n")
    assert check_tests.main([str(right), *arguments[1:]]) == 1


def test_ci_checks_the_reports_of_its_own_runs():
    script = (ROOT / ".ci" / "run").read_text()
    assert "tooling.check_tests tests .ci/minimum_tests" in script
    for environment in ("tests", "tests-jax", "tests-torch"):
        assert f"/{environment}.xml" in script
    assert (
        "--junit-xml {tox_root}/.tox/junit/{env_name}.xml tests" in (ROOT / "tox.ini").read_text()
    )
    assert "tests-long,tests-long-jax,tests-long-torch" in (ROOT / ".ci" / "full").read_text()
    assert int((ROOT / ".ci" / "minimum_tests").read_text()) > 9000
