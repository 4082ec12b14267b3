"""Wrong calls raise `ValueError` or `TypeError` with a message, before anything is computed."""

import linecache
import pathlib
import re
import traceback

import keras
import pytest
from hypothesis import given

import keras_hyper
from fuzz import grammar
from fuzz.strategies import examples
from keras_hyper import Generator
from keras_hyper.rnn.cell import RecurrentCell

OURS = pathlib.Path(keras_hyper.__file__).parent
KERAS = pathlib.Path(keras.__file__).parent
# What a backend raises is no check of an argument.
BACKENDS = [KERAS / "src" / "backend" / name for name in ("tensorflow", "jax", "torch")]
# What Python says of a call that does not fit a signature.
SIGNATURE = re.compile(r"unexpected keyword argument|missing .* required|takes .* positional")


@pytest.fixture(autouse=True)
def whole_tracebacks():
    keras.config.disable_traceback_filtering()
    yield
    keras.config.enable_traceback_filtering()


@pytest.fixture
def computed(monkeypatch):
    """Lists what was computed."""
    grammar.build_all()
    found = []
    for cls, name in ((Generator, "__call__"), (RecurrentCell, "project")):
        method = getattr(cls, name)

        def watched(self, *args, _method=method, **kwargs):
            found.append(self)
            return _method(self, *args, **kwargs)

        monkeypatch.setattr(cls, name, watched)
    return found


def is_checked(error):
    """Whether a check of an argument raised an error: one of ours, Keras's, or of a signature."""
    if SIGNATURE.search(str(error)):
        return True
    frame = traceback.extract_tb(error.__traceback__)[-1]
    path = pathlib.Path(frame.filename)
    ours = path.is_relative_to(OURS)
    keras_own = path.is_relative_to(KERAS) and not any(map(path.is_relative_to, BACKENDS))
    raised = linecache.getline(frame.filename, frame.lineno).strip().startswith("raise ")
    return (ours or keras_own) and raised


def assert_raises(function, args, kwargs, computed):
    computed.clear()
    with pytest.raises((ValueError, TypeError)) as caught:
        function(*args, **kwargs)
    assert is_checked(caught.value), caught.value
    assert len(str(caught.value)) > 20
    assert not computed


@examples(300)
@given(case=grammar.constructions())
def test_constructors(case, computed):
    function, args, kwargs = case
    assert_raises(function, args, kwargs, computed)


@examples(200)
@given(case=grammar.calls())
def test_calls(case, computed):
    _, function, args = case
    assert_raises(function, args, {}, computed)
