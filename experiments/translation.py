"""Translation: Ha, Dai & Le, "HyperNetworks", section 4.6, at the size of Multi30k.

An encoder that reads in both directions, a decoder, and attention (Bahdanau, Cho & Bengio, 2015),
with LSTM or with HyperLSTM cells of equal units. The paper has it at the size of WMT'14, which
needs what few have. Figures are the perplexity of each word, and BLEU by sacrebleu of
translations by beam search, in small letters.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from experiments.config import option, parse
from experiments.data import parallel
from experiments.data.parallel import BEGIN, END, PADDING, Vocabulary
from experiments.pipeline import shuffled_rows
from experiments.recurrent import RecurrentConfig, fitted, optimizer, recurrent
from experiments.training import Task, run


@dataclasses.dataclass(frozen=True)
class TranslationConfig(RecurrentConfig):
    """What is special about it."""

    source: str = option("de", "language to translate from: the ending of its files")
    target: str = option("en", "language to translate to")
    sentences: str = option("files", "which ones", ("files", "made"))
    word_dim: int = option(256, "width of the embeddings of words")
    least: int = option(2, "how often a word must occur to be known")
    length: int = option(40, "words that a sentence has at most, with its two ends")
    dropout: float = option(0.3, "of embeddings of words, and before the last layer")
    beam: int = option(4, "translations that are kept in the search")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth != 1:
            raise SystemExit(f"--depth must be 1, encoder and decoder are one layer: {self.depth}")


# Ten passes over Multi30k.
SMALL = {
    "steps": 4530,
    "evaluate_every": 453,
    "batch_size": 64,
    "learning_rate": 2e-3,
    "units": 128,
    "word_dim": 128,
    "hyper_units": 32,
    "embedding_dim": 8,
    "length": 30,
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": SMALL,
    "smoke": {
        **SMALL,
        "steps": 6,
        "evaluate_every": 2,
        "batch_size": 16,
        "units": 8,
        "word_dim": 8,
        "hyper_units": 4,
        "embedding_dim": 2,
        "sentences": "made",
        "least": 1,
        "length": 8,
        "beam": 2,
    },
}


def main(arguments: Any = None) -> dict[str, Any]:
    """Runs what the command line asks for."""
    prog = "python -m experiments.translation"
    config = parse(TranslationConfig, PRESETS, prog, str(__doc__), arguments)
    return run("translation", config, _checked_task, ["sacrebleu"])


@dataclasses.dataclass(frozen=True)
class Networks:
    """Three models of the same layers.

    Attributes:
        training: From source and target sentences to the next words of the target.
        encoder: From source sentences to what the decoder attends to, and its first states.
        step: From one word of the target, that, and states, to the next word and states.
    """

    training: keras.Model
    encoder: keras.Model
    step: keras.Model


def build(config: TranslationConfig, source: int, target: int) -> Networks:
    """Returns the networks for so many words of the two languages."""
    source_words = layers.Embedding(source, config.word_dim, name="source_words")
    target_words = layers.Embedding(target, config.word_dim, name="target_words")
    forward = recurrent(config, name="forward")
    backward = recurrent(config, go_backwards=True, name="backward")
    decoder = recurrent(config, name="decoder")
    drop = layers.Dropout(config.dropout)
    attention = layers.AdditiveAttention(name="attention")
    memory_size = layers.Dense(config.units, name="memory")
    combine = layers.Dense(config.word_dim, activation="tanh", name="combine")
    head = layers.Dense(target, dtype="float32", name="head")

    def encode(ids: Any) -> tuple[Any, list[Any]]:
        x, known = drop(source_words(ids)), ops.not_equal(ids, PADDING)
        there, *_ = forward(x, mask=known)
        # In the order in which it reads: from the end, where the padding is, to the beginning.
        back, *states = backward(x, mask=known)
        both = layers.Concatenate()([there, ops.flip(back, axis=1)])
        return memory_size(both), states

    def decode(ids: Any, memory: Any, known: Any, states: Any) -> tuple[Any, list[Any]]:
        x, *after = decoder(drop(target_words(ids)), initial_state=list(states))
        seen = attention([x, memory], mask=[None, known])
        return head(drop(combine(layers.Concatenate()([x, seen])))), after

    ids = keras.Input((None,), dtype="int32", name="source")
    before = keras.Input((None,), dtype="int32", name="target")
    memory, states = encode(ids)
    known = ops.not_equal(ids, PADDING)
    training = keras.Model([ids, before], decode(before, memory, known, states)[0])
    encoder = keras.Model(ids, [memory, ops.cast(known, "float32"), *states])
    given = [
        keras.Input((None, config.units)),
        keras.Input((None,)),
        *(keras.Input((size,)) for size in decoder.cell.state_size),
    ]
    logits, after = decode(before, given[0], ops.cast(given[1], "bool"), given[2:])
    return Networks(training, encoder, keras.Model([before, *given], [logits, *after]))


def _checked_task(config: TranslationConfig) -> Task:
    try:
        import sacrebleu  # noqa: F401
    except ImportError:
        # Only the test needs it, after all the training.
        raise SystemExit("sacrebleu is missing: python3 -m pip install sacrebleu") from None
    return task(config)


def task(config: TranslationConfig) -> Task:
    """Returns what is trained."""
    if config.sentences == "made":
        parts = parallel.generated()
    else:
        parts = parallel.load(config.data_dir, config.source, config.target)
    words = [Vocabulary.of([pair[n] for pair in parts[0]], config.least) for n in range(2)]
    sizes = [len(w.words) for w in words]
    train, validation, _ = (
        [w.encoded([pair[n] for pair in part], config.length) for n, w in enumerate(words)]
        for part in parts
    )
    config = fitted(config, lambda config: build(config, *sizes).training)
    networks = build(config, *sizes)
    networks.training.get_layer("head").bias.assign(log_frequencies(train[1][:, 1:], sizes[1]))
    networks.training.compile(optimizer(config), loss, jit_compile=config.jit_compile)

    def batch(step: int) -> tuple[Any, np.ndarray]:
        rows = shuffled_rows(step, config.batch_size, len(train[0]), config.seed)
        return (train[0][rows], train[1][rows, :-1]), train[1][rows, 1:]

    def figures(source: np.ndarray, target: np.ndarray) -> dict[str, float]:
        model, total, count = networks.training, 0.0, 0
        for start in range(0, len(source), 250):
            some = slice(start, start + 250)
            y = target[some, 1:]
            told = model.predict_on_batch([source[some], target[some, :-1]])
            total += float(ops.convert_to_numpy(nats(y, told)).sum(dtype="float64"))
            count += int((y != PADDING).sum())
        return {"perplexity": float(np.exp(total / count))}

    def test() -> dict[str, float]:
        from sacrebleu.metrics import BLEU

        source, target = (
            w.encoded([pair[n] for pair in parts[2]], config.length) for n, w in enumerate(words)
        )
        found = translations(networks, source, config.beam, config.length)
        told = [words[1].decoded(row) for row in found]
        wanted = [" ".join(parallel.tokens(pair[1])) for pair in parts[2]]
        # Both are words with blanks between them already.
        bleu = BLEU(tokenize="none").corpus_score(told, [wanted]).score
        return {**figures(source, target), "bleu": bleu}

    return Task(
        networks.training,
        batch,
        validate=lambda: figures(*validation),
        test=test,
        monitor="perplexity",
        about={"units": config.units, "words": sizes},
    )


def log_frequencies(targets: np.ndarray, words: int) -> np.ndarray:
    """Returns the logarithm of how often each word occurs.

    The last layer starts with them. If it has to learn which words are frequent, all weights below
    move the same way in the first updates, until `combine` is full and hands no gradient down.
    """
    counts = np.bincount(targets[targets != PADDING], minlength=words)
    return np.log((counts + 1) / (counts + 1).sum())


def nats(targets: Any, logits: Any) -> Any:
    """Returns what each word costs; nothing where there is none."""
    each = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    return each * ops.cast(ops.not_equal(targets, PADDING), each.dtype)


def loss(targets: Any, logits: Any) -> Any:
    """Returns the mean over the words of each sentence."""
    count = ops.sum(ops.cast(ops.not_equal(targets, PADDING), "float32"), axis=-1)
    return ops.sum(nats(targets, logits), axis=-1) / count


def translations(networks: Networks, source: np.ndarray, beam: int, length: int) -> np.ndarray:
    """Returns the best translation that a beam search finds for each sentence.

    Translations are compared by the mean of the logarithms of their words' probabilities.
    """
    found = []
    for start in range(0, len(source), 50):
        given = networks.encoder.predict_on_batch(source[start : start + 50])
        found.append(_search(networks.step, [np.asarray(x) for x in given], beam, length))
    return np.concatenate(found)


def _search(step: keras.Model, given: list[np.ndarray], beam: int, length: int) -> np.ndarray:
    sentences = len(given[0])
    memory, known, *states = (np.repeat(x, beam, axis=0) for x in given)
    words = np.full((sentences * beam, 1), BEGIN, "int32")
    # At first all translations of a sentence are one and the same.
    scores = np.tile(np.array([0.0] + [-np.inf] * (beam - 1)), (sentences, 1))
    ended = np.zeros((sentences, beam), bool)
    lengths = np.zeros((sentences, beam))
    for _ in range(length - 1):
        logits, *states = step.predict_on_batch([words[:, -1:], memory, known, *states])
        chances = np.array(keras.ops.log_softmax(logits[:, 0], axis=-1), "float64")
        chances = chances.reshape(sentences, beam, -1)
        # What has ended goes on in one way only, for nothing.
        chances[ended] = -np.inf
        chances[ended, PADDING] = 0.0
        total = scores[:, :, None] + chances
        longer = lengths + ~ended
        # By the mean for a word: short translations have no advantage.
        order = (total / longer[:, :, None]).reshape(sentences, -1).argsort(axis=1)[:, -beam:]
        parents, chosen = np.divmod(order, chances.shape[-1])
        rows = (parents + beam * np.arange(sentences)[:, None]).ravel()
        words = np.concatenate([words[rows], chosen.reshape(-1, 1)], axis=1).astype("int32")
        states = [np.asarray(s)[rows] for s in states]
        scores = np.take_along_axis(total.reshape(sentences, -1), order, axis=1)
        lengths = np.take_along_axis(longer, parents, axis=1)
        ended = np.take_along_axis(ended, parents, axis=1) | (chosen == END)
        if ended.all():
            break
    best = (scores / lengths).argmax(axis=1) + beam * np.arange(sentences)
    full = np.zeros((sentences, length), "int32")
    full[:, : words.shape[1]] = words[best]
    return full


if __name__ == "__main__":
    main()
