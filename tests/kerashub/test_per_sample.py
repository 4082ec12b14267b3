"""A different adapter for every sample of a batch, in language models of KerasHub."""

import keras
import keras_hub
import numpy as np
import pytest

from keras_hyper import Hypernetwork, LowRankGenerator

SMALL = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32}
KEY_VALUE = {"num_query_heads": 4, "num_key_value_heads": 2}
BACKBONES = {
    "GPT2Backbone": {"num_heads": 2, "max_sequence_length": 12},
    "RobertaBackbone": {"num_heads": 2, "max_sequence_length": 12},
    "LlamaBackbone": KEY_VALUE,
    "GemmaBackbone": {**KEY_VALUE, "head_dim": 8},
}


@pytest.mark.parametrize("name", BACKBONES)
def test_each_sample_has_its_adapter_in_calls_and_in_fit(name):
    rng = np.random.default_rng(0)
    backbone = getattr(keras_hub.models, name)(**SMALL, **BACKBONES[name])
    backbone.trainable = False
    hyper = Hypernetwork(
        backbone,
        LowRankGenerator(2),
        condition=6,
        include=["*query/kernel", "*value/kernel"],
        composition="add",
    )
    assert len(hyper.generated_weights) == 4
    tokens = {"token_ids": rng.integers(0, 50, (4, 8)), "padding_mask": np.ones((4, 8), "int32")}
    condition = rng.normal(size=(4, 6)).astype("float32")
    plain = np.array(backbone(tokens))
    np.testing.assert_allclose(np.array(hyper(tokens, condition=condition)), plain, atol=1e-6)
    for weight in hyper.generated_weights.values():
        weight.gate.assign(0.5)
    outputs = np.array(hyper(tokens, condition=condition))
    assert np.abs(outputs - plain).max() > 1e-3
    for i in range(4):
        row = keras.tree.map_structure(lambda x, i=i: x[i : i + 1], tokens)
        one = np.array(hyper.bake(condition[i])(row))
        np.testing.assert_allclose(outputs[i : i + 1], one, rtol=1e-4, atol=1e-5)
    hyper.compile("adam", "mse")
    data = {"inputs": tokens, "condition": condition}
    losses = hyper.fit(data, rng.normal(size=plain.shape), epochs=2, verbose=0).history["loss"]
    # Dropout makes the losses of two steps scatter by more than they fall.
    assert np.isfinite(losses).all()
    for weight in hyper.generated_weights.values():
        assert abs(float(weight.gate) - 0.5) > 1e-6
