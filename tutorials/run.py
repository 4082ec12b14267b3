"""Executes every notebook and checks that it is the one that its script makes.

    python tutorials/run.py            # check: execute, compare with the script
    python tutorials/run.py --write    # make the notebooks anew, with outputs
    python tutorials/run.py 03         # either, for those whose names begin so

Notebooks run in a temporary folder; what they write is gone afterwards.
"""

import pathlib
import sys
import tempfile

import jupytext
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

HERE = pathlib.Path(__file__).parent


def sources(notebook):
    """Returns what a reader would edit: types and sources of the cells."""
    return [(cell.cell_type, cell.source.strip()) for cell in notebook.cells]


def main() -> int:
    """Runs the notebooks and returns how many are not as they should be."""
    write, wrong = "--write" in sys.argv[1:], 0
    names = tuple(name for name in sys.argv[1:] if name != "--write")
    for script in sorted(HERE.glob("[0-9]*.py")):
        if names and not script.name.startswith(names):
            continue
        path = script.with_suffix(".ipynb")
        notebook = jupytext.read(script)
        with tempfile.TemporaryDirectory() as folder:
            run = ExecutePreprocessor(timeout=600, kernel_name="python3")
            run.preprocess(notebook, {"metadata": {"path": folder}})
        print(f"{path.name}: executed")
        if write:
            for cell in notebook.cells:
                cell.metadata.pop("execution", None)  # Times, new in every run.
            nbformat.write(notebook, path)
        elif sources(nbformat.read(path, as_version=4)) != sources(notebook):
            print(f"{path.name}: differs from {script.name}; run tutorials/run.py --write")
            wrong += 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
