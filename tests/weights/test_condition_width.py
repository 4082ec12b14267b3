"""A slot takes conditions of the width it was built for."""

import numpy as np
import pytest

from keras_hyper import GeneratedWeight, LinearGenerator


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("lead", [(), (5,)], ids=["one", "per-sample"])
def test_another_width_raises(width, lead):
    slot = GeneratedWeight(LinearGenerator(), (4, 5))
    slot.build((None, 3))
    with pytest.raises(ValueError, match="was built for a `condition` of width 3"):
        slot(np.ones((*lead, width), "float32"))
