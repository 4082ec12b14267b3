"""Every example in a docstring of the package runs."""

import doctest
import importlib
import io
import pkgutil

import keras
import pytest

import keras_hyper
from helpers import CAN_EXPORT

# Modules that import the framework of one backend.
BACKENDS = {"keras_hyper.rnn.tensorflow_sweep": "tensorflow"}


def modules():
    yield keras_hyper
    backend = keras.backend.backend()
    for found in pkgutil.walk_packages(keras_hyper.__path__, "keras_hyper."):
        if BACKENDS.get(found.name, backend) == backend:
            yield importlib.import_module(found.name)


EXAMPLES = {
    test.name: test
    for module in modules()
    for test in doctest.DocTestFinder().find(module)
    if test.examples
}


def failures(test):
    """Returns the report of an example, empty if it passes."""
    report = io.StringIO()
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.write)
    return report.getvalue()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_of_a_docstring_runs(name):
    if name.startswith("keras_hyper.export") and not CAN_EXPORT:
        pytest.skip("needs TensorFlow, and a backend that exports")
    report = failures(EXAMPLES[name])
    assert not report, report


def test_an_example_that_fails_is_reported():
    parser = doctest.DocTestParser()
    for text, expected in ((">>> 1 + 1\n2\n", ""), (">>> 1 + 1\n3\n", "Got:\n    2\n")):
        report = failures(parser.get_doctest(text, {}, "sum", None, None))
        assert expected in report
        assert bool(report) is bool(expected)


def test_most_modules_have_examples():
    assert len(EXAMPLES) >= 50
