"""Models of KerasHub as targets: every layer is found, and files keep what is frozen."""

import keras
import keras_hub
import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper import Hypernetwork, LowRankGenerator, TaskEmbedding
from keras_hyper.utils.graph import named_weights, seed_states, walk

models = keras_hub.models
TEXT = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16}
BERT = {**TEXT, "num_heads": 2, "max_sequence_length": 12}
QUERY = {**TEXT, "num_query_heads": 2, "num_key_value_heads": 2}
VISION = {"image_shape": (16, 16, 3), "num_layers": 2, "num_heads": 2, "hidden_dim": 8}


def clip():
    text = {**BERT, "embedding_dim": 8, "max_sequence_length": 8}
    return models.CLIPBackbone(
        models.CLIPVisionEncoder(patch_size=8, intermediate_dim=16, **VISION),
        models.CLIPTextEncoder(**text),
        projection_dim=8,
    )


# Its attention does not pass masks on, and Keras warns.
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")

BACKBONES = {
    "albert": lambda: models.AlbertBackbone(embedding_dim=8, **BERT),
    "bart": lambda: models.BartBackbone(**BERT),
    "bert": lambda: models.BertBackbone(**BERT),
    "bloom": lambda: models.BloomBackbone(**BERT),
    "clip": clip,
    "deberta": lambda: models.DebertaV3Backbone(bucket_size=4, **BERT),
    "dinov2": lambda: models.DINOV2Backbone(patch_size=4, intermediate_dim=16, **VISION),
    "falcon": lambda: models.FalconBackbone(num_attention_heads=2, **TEXT),
    "gemma": lambda: models.GemmaBackbone(head_dim=4, **QUERY),
    "gpt2": lambda: models.GPT2Backbone(**BERT),
    "llama": lambda: models.LlamaBackbone(**QUERY),
    "mistral": lambda: models.MistralBackbone(**QUERY),
    "mixtral": lambda: models.MixtralBackbone(num_experts=2, top_k=1, **QUERY),
    "opt": lambda: models.OPTBackbone(**BERT),
    "phi3": lambda: models.Phi3Backbone(**QUERY),
    "qwen": lambda: models.QwenBackbone(**QUERY),
    "roberta": lambda: models.RobertaBackbone(**BERT),
    "t5": lambda: models.T5Backbone(num_heads=2, key_value_dim=4, **TEXT),
    "vit": lambda: models.ViTBackbone(patch_size=8, mlp_dim=16, **VISION),
    "vitdet": lambda: models.ViTDetBackbone(
        hidden_size=16,
        num_layers=2,
        intermediate_dim=32,
        num_heads=2,
        global_attention_layer_indices=[1],
        image_shape=(32, 32, 3),
        patch_size=8,
        num_output_channels=8,
        window_size=2,
    ),
    "whisper": lambda: models.WhisperBackbone(
        **{**TEXT, "num_heads": 2},
        max_encoder_sequence_length=12,
        max_decoder_sequence_length=12,
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_all_that_keras_finds_is_found_once(name):
    model = BACKBONES[name]()
    named = named_weights(model)
    assert sorted(id(w.variable) for w in named) == sorted(id(v) for v in model.weights)
    assert len({w.path for w in named}) == len(named)
    assert {id(layer) for layer in walk(model)} >= {id(layer) for layer in model._flatten_layers()}
    seeds = {id(v) for v in model.variables} - {id(v) for v in model.weights}
    assert {id(v) for v in seed_states(model)} == seeds


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "gemma", "qwen", "mistral"])
def test_paths_are_those_of_the_variables(name):
    model = BACKBONES[name]()
    assert all(w.variable.path.endswith(w.path) for w in named_weights(model))


def inputs_of(model, rng):
    def drawn(x):
        shape = (2, *(n or 6 for n in x.shape[1:]))
        whole = keras.backend.is_int_dtype(x.dtype)
        return np.ones(shape, x.dtype) if whole else rng.normal(size=shape).astype("float32")

    return keras.tree.map_structure(drawn, model.input)


@pytest.mark.parametrize("name", ["bert", "vit", "dinov2", "llama"])
def test_adapters_of_frozen_backbones_come_back_from_files(name, rng, tmp_path):
    model = BACKBONES[name]()
    model.trainable = False
    hyper = Hypernetwork(
        model,
        LowRankGenerator(2),
        condition=TaskEmbedding(3, 4),
        include="*kernel",
        composition="add",
    )
    for weight in hyper.generated_weights.values():
        weight.gate.assign(0.5)
    hyper.save(tmp_path / "hyper.keras")
    again = keras.saving.load_model(tmp_path / "hyper.keras")
    assert list(again.generated_weights) == list(hyper.generated_weights)
    assert [v.trainable for v in again.weights] == [v.trainable for v in hyper.weights]
    inputs = inputs_of(model, rng)
    outputs = [to_numpy(keras.tree.flatten(m(inputs, condition=1))[0]) for m in (hyper, again)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)
