"""Translation: beam search, perplexity, vocabulary."""

import dataclasses
import sys

import keras
import numpy as np
import pytest

from experiments import translation
from experiments.config import parse
from experiments.data import parallel
from helpers import to_numpy


def test_a_beam_search_finds_the_best_translation():
    """Of a table of chances, in which the best first word is not that of the best sentence."""
    end, table = parallel.END, np.full((8, 8), 1e-6)
    table[parallel.BEGIN, 4], table[parallel.BEGIN, 5] = 0.6, 0.4
    table[4, 6], table[4, 7] = 0.5, 0.5
    table[5, 6] = 1.0
    table[6, end] = table[7, end] = 1.0

    class Step:
        def predict_on_batch(self, given):
            words, _, _, state = given
            return [np.log(table[words]), state + 1]

    given = [np.zeros((2, 3, 1)), np.ones((2, 3)), np.zeros((2, 1))]
    greedy = translation._search(Step(), given, beam=1, length=6)
    best = translation._search(Step(), given, beam=3, length=6)
    assert greedy[0, 1] == 4
    np.testing.assert_array_equal(best, [[2, 5, 6, 3, 0, 0]] * 2)


def test_perplexity_is_that_of_the_words_without_what_fills_up():
    config = parse(
        translation.TranslationConfig, translation.PRESETS, "x", "y", ["--preset", "smoke"]
    )
    task = translation.task(dataclasses.replace(config, jit_compile=False))
    parts = parallel.generated()
    words = [parallel.Vocabulary.of([pair[n] for pair in parts[0]], 1) for n in range(2)]
    source, target = (
        w.encoded([pair[n] for pair in parts[1]], config.length) for n, w in enumerate(words)
    )
    assert (target == parallel.PADDING).any()
    total, count = 0.0, 0
    for one, other in zip(source, target, strict=True):
        known = other[other != parallel.PADDING]
        logits = task.model.predict_on_batch([one[None], known[None, :-1]])[0]
        chances = to_numpy(keras.ops.log_softmax(logits, axis=-1))
        total -= chances[np.arange(len(known) - 1), known[1:]].sum(dtype="float64")
        count += len(known) - 1
    assert task.validate()["perplexity"] == pytest.approx(np.exp(total / count), rel=1e-4)


def test_translation_starts_from_how_often_words_occur():
    config = translation.TranslationConfig(
        **translation.PRESETS["smoke"] | {"preset": "smoke", "jit_compile": False}
    )
    sentences = [pair[1] for pair in parallel.generated()[0]]
    words = parallel.Vocabulary.of(sentences, least=1)
    said = words.encoded(sentences, config.length)[:, 1:]
    counts = 1 + np.bincount(said[said != parallel.PADDING], minlength=len(words.words))
    bias = translation.task(config).model.get_layer("head").bias
    np.testing.assert_allclose(
        np.exp(keras.ops.convert_to_numpy(bias)), counts / counts.sum(), rtol=1e-5
    )


def test_translation_asks_for_sacrebleu_before_it_trains(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(SystemExit, match="pip install sacrebleu"):
        translation.main(["--preset", "smoke", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


def test_words_become_numbers_and_words_again():
    words = parallel.Vocabulary.of(["A man, a dog.", "a cat"], least=1)
    rows = words.encoded(["A man, unheard of", "a dog a dog a dog"], length=7)
    assert words.decoded(rows[0]) == "a man , <unknown> <unknown>"
    assert words.decoded(rows[1]) == "a dog a dog a"
    rare = parallel.Vocabulary.of(["a a b"], least=2)
    assert list(rare.words[4:]) == ["a"]
