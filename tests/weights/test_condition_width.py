"""A generated weight takes conditions of the width it was built for."""

import numpy as np
import pytest

from keras_hyper import GeneratedWeight, LinearGenerator


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("lead", [(), (5,)], ids=["one", "per-sample"])
def test_another_width_raises(width, lead):
    generated = GeneratedWeight(LinearGenerator(), (4, 5))
    generated.build((None, 3))
    with pytest.raises(ValueError, match="was built for a `condition` of width 3"):
        generated(np.ones((*lead, width), "float32"))
