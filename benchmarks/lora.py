"""(r) Adapters of rank 4 on KerasHub's BERT: per-sample adapters, relative to Keras's LoRA.

Queries and values are adapted. `enable_lora` has one adapter for all samples; ours are
generated from conditions of width 64, within the step. All else is frozen, but for a
classifier on top. A training step is that of `fit`: forward, backward and update.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.compare import Candidate
from benchmarks.steps import normal

CONDITION = 64
RANK = 4
# Width, layers, tokens, batch.
SIZES = {
    f"{width} x {layers}, {tokens} tokens, batch {batch}": (width, layers, tokens, batch)
    for width, layers, tokens in ((128, 2, 64), (256, 4, 128))
    for batch in (8, 32)
}


def parts_of(size: Any) -> tuple[Any, dict[str, Any]]:
    """Returns a backbone, of which nothing is trained, and its inputs."""
    import keras_hub
    import numpy as np

    width, layers, tokens, batch = size
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=1000,
        num_layers=layers,
        num_heads=width // 64,
        hidden_dim=width,
        intermediate_dim=4 * width,
        max_sequence_length=tokens,
    )
    backbone.trainable = False
    ids = np.random.default_rng(0).integers(1000, size=(batch, tokens)).astype("int32")
    ones = np.ones_like(ids)
    return backbone, {"token_ids": ids, "segment_ids": 0 * ones, "padding_mask": ones}


def lora(size: Any) -> tuple[Any, Any]:
    """Returns a classifier with Keras's own adapters, and its inputs."""
    backbone, inputs = parts_of(size)
    backbone.enable_lora(RANK)
    return classifier(backbone.input, backbone(backbone.input)), inputs


def hypernetwork(size: Any) -> Any:
    """Returns a hypernetwork that adapts a backbone, and the inputs of that."""
    from keras_hyper import Hypernetwork, LowRankGenerator

    backbone, inputs = parts_of(size)
    hyper = Hypernetwork(
        backbone,
        LowRankGenerator(RANK),
        condition=CONDITION,
        include=["*query/kernel", "*value/kernel"],
        composition="add",
    )
    return hyper, inputs


def per_sample(size: Any) -> tuple[Any, Any]:
    """Returns a classifier with an adapter for each sample, and its inputs."""
    import keras

    hyper, inputs = hypernetwork(size)
    condition = keras.Input((CONDITION,), name="condition")
    outputs = hyper(hyper.target.input, condition=condition)
    model = classifier({**hyper.target.input, "condition": condition}, outputs)
    return model, {**inputs, "condition": normal(size[3], CONDITION)}


def shared(size: Any) -> tuple[Any, Any]:
    """Returns a classifier with one adapter for the batch, and its inputs."""
    hyper, inputs = hypernetwork(size)
    return classifier(hyper.target.input, hyper.at(normal(CONDITION))(hyper.target.input)), inputs


def classifier(inputs: Any, outputs: Any) -> Any:
    """Returns a model that classifies what a backbone makes of a text."""
    import keras

    return keras.Model(inputs, keras.layers.Dense(10)(outputs["pooled_output"]))


def training(make: Callable[[Any], Any], jit: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a training step."""

    def step_of(size: Any) -> Callable[[], Any]:
        import keras
        import numpy as np

        model, inputs = make(size)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, jit_compile=jit)
        labels = np.arange(size[3]) % 10
        return lambda: model.train_on_batch(inputs, labels)

    return step_of


def inference(make: Callable[[Any], Any], jit: bool) -> Callable[[Any], Callable[[], Any]]:
    """Returns what makes a prediction."""

    def step_of(size: Any) -> Callable[[], Any]:
        model, inputs = make(size)
        model.compile(jit_compile=jit)
        return lambda: model.predict_on_batch(inputs)

    return step_of


CANDIDATES: dict[str, Candidate] = {}
REFERENCES: dict[str, tuple[str, ...]] = {}
for _kind, _step in (("training", training), ("inference", inference)):
    for _where, _backend, _jit in (
        ("TensorFlow", "tensorflow", False),
        ("TensorFlow XLA", "tensorflow", True),
        ("JAX", "jax", True),
    ):
        _reference = f"{_kind}, {_where}, enable_lora"
        CANDIDATES[_reference] = Candidate(_backend, _step(lora, _jit))
        for _name, _make in (("per sample", per_sample), ("one for the batch", shared)):
            CANDIDATES[f"{_kind}, {_where}, {_name}"] = Candidate(_backend, _step(_make, _jit))
            REFERENCES[f"{_kind}, {_where}, {_name}"] = (_reference,)


def references(size: Any) -> dict[str, tuple[str, ...]]:
    """Returns what each candidate is compared with: that of the same backend."""
    return REFERENCES
