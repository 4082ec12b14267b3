"""Executes every notebook and checks that it is the one that its script makes.

    python tutorials/run.py            # check: execute, compare with the script
    python tutorials/run.py --write    # make the notebooks anew, with outputs
    python tutorials/run.py 03         # either, for those whose names begin so

Notebooks run in a temporary folder; what they write is gone afterwards. A notebook is its script,
and before it a badge and a cell that installs the package where it is missing, as in Colab.
"""

import configparser
import pathlib
import sys
import tempfile
import time

import jupytext
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

HERE = pathlib.Path(__file__).parent
COLAB = "https://colab.research.google.com"
INSTALL = """\
import importlib.util

if importlib.util.find_spec("keras_hyper") is None:
    %pip install -q "keras-hyper[tensorflow,tutorials] @ git+{url}\""""


def heading(name):
    """Returns the cells before those of the script."""
    config = configparser.ConfigParser()
    config.read(HERE.parent / "setup.cfg")
    url = config["metadata"]["url"]
    place = f"{COLAB}/github/{url.removeprefix('https://github.com/')}/blob/main/tutorials/{name}"
    badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({place})"
    return [
        nbformat.v4.new_markdown_cell(badge, id="badge"),
        nbformat.v4.new_code_cell(INSTALL.format(url=url), id="install"),
    ]


def sources(notebook):
    """Returns what a reader would edit: types and sources of the cells."""
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


def tidy(notebook):
    """Leaves out what is new in every run, and what is said to whoever runs it."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]


def main() -> int:
    """Runs the notebooks and returns how many are not as they should be."""
    write, wrong = "--write" in sys.argv[1:], 0
    names = tuple(name for name in sys.argv[1:] if name != "--write")
    for script in sorted(HERE.glob("[0-9]*.py")):
        if names and not script.name.startswith(names):
            continue
        path = script.with_suffix(".ipynb")
        notebook = jupytext.read(script)
        notebook.cells = heading(path.name) + notebook.cells
        for number, cell in enumerate(notebook.cells):
            # Otherwise random, and others in every run.
            cell.id = f"cell-{number}"
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = ExecutePreprocessor(timeout=600, kernel_name="python3")
            run.preprocess(notebook, {"metadata": {"path": folder}})
        print(f"{path.name}: executed in {time.perf_counter() - start:.0f} s", flush=True)
        if write:
            tidy(notebook)
            nbformat.write(notebook, path)
        elif sources(nbformat.read(path, as_version=4)) != sources(notebook):
            print(f"{path.name}: differs from {script.name}; run tutorials/run.py --write")
            wrong += 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
