"""Character models: bits per character, the rank of scales, a text of the user."""

import types

import keras
import numpy as np
import pytest

from experiments import characters
from experiments import text as any_text
from helpers import long_test_where_compiled, to_numpy

JAX = keras.backend.backend() == "jax"


@long_test_where_compiled
def test_bits_of_a_text_are_those_of_one_pass_with_states(rng):
    config = characters.CharacterConfig(units=5, hyper_units=3, embedding_dim=2)
    model, stream = characters.build(config, 7)
    text = rng.integers(7, size=2 * 450 + 1).astype("int32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(characters, "STREAMS", 2)
        found = characters.bits_per_character(stream, jit_compile=False)(text)
    # Two places, each read at once instead of in pieces.
    x, y = text[:-1].reshape(2, 450), text[1:].reshape(2, 450)
    logits = to_numpy(model(x)).astype("float64")
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    wanted = -np.log2(np.take_along_axis(chances, y[..., None], axis=-1)).mean()
    assert found == pytest.approx(wanted, rel=1e-5)


def test_the_effective_rank_counts_directions(monkeypatch):
    config = characters.CharacterConfig(units=3, hyper_units=2, embedding_dim=2, model="HyperLSTM")
    model, _ = characters.build(config, 7)
    scales = np.zeros((1, 4, 4, 3))
    scales[0, :, 0] = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]  # Two, alike.
    scales[0, :, 1] = np.outer([1, -2, 3, -2], [1, 2, 3])  # One.
    scales[0, :, 2] = 5  # None.
    scales[0, :, 3] = scales[0, :, 1]
    record = types.SimpleNamespace(
        scales={"recurrent_kernel": keras.ops.convert_to_tensor(scales, "float32")}
    )
    monkeypatch.setattr(characters, "record_weights", lambda layer, x: record)
    found = characters.effective_rank(model, np.zeros(4, "int32"))
    assert found == pytest.approx((2 + 1 + 0 + 1) / 4, rel=1e-4)


def test_a_text_of_ones_own_has_its_name_in_the_result(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    command = ["--text", str(path), "--preset", "smoke", "--out", str(tmp_path / "run")]
    command += ["--model", "LN-LSTM", "--steps", "2", "--parameters", "4000"]
    command += ["--jit-compile" if JAX else "--no-jit-compile"]
    result = any_text.main(command)
    assert result["setting"]["text"] == "mine.txt"
    assert result["parameters"] <= 4000
    assert 0 < result["test"]["bits"] < 8
    with pytest.raises(SystemExit, match="is no file"):
        any_text.main(["--text", str(tmp_path / "other.txt")])
