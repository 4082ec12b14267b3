"""What the tests of deployment share."""

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seed():
    """Gives each test the same random numbers."""
    keras.utils.set_random_seed(7)


@pytest.fixture
def rng():
    """Returns random numbers that are the same for each test."""
    return np.random.default_rng(7)
