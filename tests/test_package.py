"""What `import keras_hyper` gives, and what it leaves unloaded."""

import ast
import pathlib
import subprocess
import sys

import pytest

import keras_hyper

PROGRAM = """
import sys
sys.modules.update(matplotlib=None, tensorboardX=None)  # Importing one of these raises.
import keras_hyper

lazy = {"keras_hyper.callbacks", "keras_hyper.visualize"}
assert not lazy & set(sys.modules)
assert {"callbacks", "visualize", "HyperDense"} <= set(dir(keras_hyper))
assert not lazy & set(sys.modules)
namespace = {}
exec("from keras_hyper import *", namespace)
assert namespace.keys() - {"__builtins__"} == set(keras_hyper.__all__)
assert not lazy & set(sys.modules)
assert keras_hyper.visualize.kernels and keras_hyper.callbacks.HyperTensorBoard
assert lazy <= set(sys.modules)
"""


def test_callbacks_and_visualize_are_loaded_on_first_use():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("name", ["callbacks", "visualize"])
def test_both_ways_to_import_give_one_module(name):
    namespace = {}
    exec(f"from keras_hyper import {name} as first\nimport keras_hyper.{name} as second", namespace)
    assert namespace["first"] is namespace["second"] is getattr(keras_hyper, name)


def test_other_names_raise():
    with pytest.raises(AttributeError, match="'keras_hyper' has no attribute 'visualise'"):
        _ = keras_hyper.visualise
    with pytest.raises(ImportError, match="cannot import name 'callback'"):
        exec("from keras_hyper import callback")


# A package imports only from those before it.
ORDER = (
    *("ops", "utils", "saving", "initializers", "kernels", "generators", "conditions", "weights"),
    *("application", "layers", "rnn", "transforms", "hypernetwork", "inspect", "export"),
    *("callbacks", "visualize", "cli"),
)
SOURCES = pathlib.Path(keras_hyper.__file__).parent


@pytest.mark.parametrize("position", range(len(ORDER)), ids=ORDER)
def test_imports_point_upwards(position):
    allowed = {"typing", "version", *ORDER[: position + 1]}
    name = ORDER[position]
    files = sorted((SOURCES / name).glob("*.py")) or [SOURCES / f"{name}.py"]
    imported = {
        node.module.split(".")[1]
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("keras_hyper.")
    }
    assert imported <= allowed


def test_every_module_has_its_place_in_the_order():
    modules = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    modules |= {path.stem for path in SOURCES.glob("*.py")}
    assert modules - {"__init__", "typing", "version"} == set(ORDER)
