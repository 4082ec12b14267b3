"""Which backend the suite runs on, and a fresh start for every test."""

import contextlib
import gc
import os
import pathlib
import sys
from unittest import mock

# For `benchmarks`, `experiments` and `tooling`. Last, so that an installed
# `keras_hyper` is the one under test.
sys.path.append(str(pathlib.Path(__file__).parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_ENABLE_X64", "1")  # For the tests in float64.
if os.environ.get("KERAS_BACKEND") == "torch":
    import torch  # noqa: F401  Before TensorFlow, should both be installed.

import keras
import pytest

_SKIP = {
    "tensorflow": ("tensorflow",),
    "export": ("tensorflow",),
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if getattr(config.option, "loadgroup", False):
        alone = [
            i.nodeid for i in items if i.get_closest_marker("xdist_group") and "@" not in i.nodeid
        ]
        assert not alone, f"pytest-xdist ignores the groups of tests, such as {alone[0]}"
    backend = keras.backend.backend()
    for item in items:
        for marker, backends in _SKIP.items():
            if item.get_closest_marker(marker) and backend not in backends:
                item.add_marker(pytest.mark.skip(reason=f"not on the {backend} backend"))


def kept_kernels():
    """Lets TensorFlow keep the kernels of its operations, which take long to make again."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    from tensorflow.python.eager import context

    return mock.patch.object(context.pywrap_tfe, "TFE_ContextClearCaches", create=True)


@pytest.fixture(autouse=True)
def fresh_start():
    """Gives each test the same random numbers, names and precision."""
    with kept_kernels():
        keras.backend.clear_session(free_memory=False)  # It takes longer than a test.
        keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    yield
    if "matplotlib.pyplot" in sys.modules:  # It warns of many open figures.
        sys.modules["matplotlib.pyplot"].close("all")
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")


def pytest_collection_finish():
    """Leaves what was imported out of every garbage collection."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def drop_what_was_compiled():
    """Frees programs and graphs, which would grow to gigabytes until the process ends."""
    yield
    gc.collect()
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(7)
