"""The programs that repeat the paper's experiments: sizes, data, going on, reports."""

import dataclasses
import gzip
import json
import pathlib
import pickle
import sys
import types

import keras
import numpy as np
import pytest

from helpers import to_numpy
from keras_hyper import HyperConv2D

ROOT = pathlib.Path(__file__).parent.parent
# Last, so that the package which is tested is the one that is installed.
sys.path.append(str(ROOT))

from experiments import (  # noqa: E402
    characters,
    cifar10_wrn,
    enwik8,
    handwriting,
    mnist_static,
    ptb_char,
    report,
    training,
    translation,
)
from experiments import text as any_text  # noqa: E402
from experiments.config import Config, option, parse  # noqa: E402
from experiments.data import characters as texts  # noqa: E402
from experiments.data import cifar10, parallel, source, strokes  # noqa: E402
from experiments.machine import about  # noqa: E402
from experiments.pipeline import batches, shuffled_rows  # noqa: E402
from experiments.recurrent import fitted  # noqa: E402

JAX = keras.backend.backend() == "jax"


def count(make):
    """Returns how many numbers a model would train, without making them."""
    if JAX:
        # Keras makes there, later, what was not made here: matrices of 100 million numbers.
        pytest.skip("sizes do not depend on the backend")
    with keras.StatelessScope(initialize_variables=False):
        return training.trained(make())


# Ha, Dai & Le, tables 2 to 5 and 7.
@pytest.mark.parametrize(
    ("width", "model", "parameters"),
    [
        (1, "ordinary", 562_762),
        (1, "generated", 96_602),
        (2, "ordinary", 2_235_530),
        (2, "generated", 147_610),
    ],
)
def test_wide_residual_networks_have_the_parameters_of_table_2(width, model, parameters):
    config = cifar10_wrn.WrnConfig(model=model, width=width)
    assert count(lambda: cifar10_wrn.build(config)) == parameters


@pytest.mark.parametrize(
    ("preset", "more", "parameters"),
    [
        ("paper", {"model": "LSTM"}, 4_254_050),
        ("paper", {"model": "LSTM", "units": 1250}, 6_567_550),
        ("paper", {"model": "LSTM", "depth": 2}, 12_258_050),
        ("paper", {"model": "LN-LSTM"}, 4_260_050),
        ("paper", {"model": "HyperLSTM"}, 4_911_874),
        ("paper", {"model": "LN-HyperLSTM"}, 4_923_154),
        # The paper prints 5.06 million, and 14.41 for two layers of the same.
        ("large_embedding", {}, 5_085_682),
        ("two_layers", {}, 14_407_714),
    ],
)
def test_character_models_have_the_parameters_of_table_3(preset, more, parameters):
    config = characters.CharacterConfig(**{**ptb_char.PRESETS[preset], **more})
    assert count(lambda: characters.build(config, 50)[0]) == parameters


@pytest.mark.parametrize(
    ("preset", "more", "parameters"),
    [
        ("paper", {"model": "LSTM"}, 14_812_405),
        ("paper", {"model": "LSTM", "units": 2000}, 18_058_205),
        ("paper", {"model": "LN-LSTM"}, 14_823_205),
        ("paper", {"model": "HyperLSTM"}, 18_708_213),
        # The paper prints 18.78 million.
        ("paper", {"model": "LN-HyperLSTM"}, 18_728_773),
        ("large", {}, 26_541_773),
    ],
)
def test_character_models_have_the_parameters_of_table_4(preset, more, parameters):
    config = characters.CharacterConfig(**{**enwik8.PRESETS[preset], **more})
    assert count(lambda: characters.build(config, 205)[0]) == parameters


@pytest.mark.parametrize(
    ("more", "parameters"),
    [
        ({"model": "LSTM"}, 3_363_421),
        ({"model": "LSTM", "units": 400, "depth": 3}, 3_258_121),
        ({"model": "LSTM", "units": 1000}, 4_137_121),
        ({"model": "LSTM", "units": 650, "depth": 2}, 5_161_771),
        ({"model": "LN-LSTM"}, 3_368_821),
        ({"model": "LN-LSTM", "units": 1000}, 4_143_121),
        ({"model": "LN-HyperLSTM"}, 3_951_461),
        ({"model": "HyperLSTM"}, 3_941_181),
    ],
)
def test_handwriting_models_have_the_parameters_of_table_5(more, parameters):
    config = handwriting.HandwritingConfig(**{**handwriting.PRESETS["paper"], **more})
    assert count(lambda: handwriting.build(config)[0]) == parameters


@pytest.mark.parametrize(
    ("model", "second", "parameters"), [("ordinary", 12_544, 21_210), ("generated", 4_244, 12_910)]
)
def test_the_second_kernel_has_the_parameters_of_table_7(model, second, parameters):
    with pytest.warns(UserWarning, match="rank") if model == "generated" else _nothing():
        network = mnist_static.build(mnist_static.MnistConfig(model=model))
    assert mnist_static.kernel_size(network) == second
    assert training.trained(network) == parameters


class _nothing:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *args):
        return False


def test_units_are_the_most_that_fit():
    config = characters.CharacterConfig(parameters=20_000, hyper_units=16, model="HyperLSTM")

    def build(config):
        return characters.build(config, 30)[0]

    units = fitted(config, build).units
    assert training.trained(build(dataclasses.replace(config, units=units))) <= 20_000
    assert training.trained(build(dataclasses.replace(config, units=units + 1))) > 20_000
    with pytest.raises(SystemExit, match="--parameters 500 is too few"):
        fitted(dataclasses.replace(config, parameters=500), build)


@dataclasses.dataclass(frozen=True)
class Example(Config):
    width: int = option(3, "of something")
    model: str = option("a", "which one", ("a", "b"))


PRESETS = {"small": {"width": 4, "steps": 500}, "smoke": {"steps": 10, "evaluate_every": 5}}


def test_options_come_before_presets_and_those_before_defaults():
    told = [parse(Example, PRESETS, "x", "y", line.split()) for line in ("", "--width 5")]
    assert [c.width for c in told] == [4, 5]
    assert told[0].preset == "small"
    other = parse(
        Example, PRESETS, "x", "y", ["--preset", "smoke", "--no-jit-compile", "--seed", "3"]
    )
    assert (other.steps, other.width, other.jit_compile, other.seed) == (10, 3, False, 3)
    assert "out" not in other.setting
    assert other.setting["width"] == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--steps 0", "--steps must be positive: 0"),
        ("--steps 501 --evaluate-every 500", "--steps 501 must be a multiple of --evaluate-every"),
    ],
)
def test_settings_that_cannot_be_are_refused(line, message):
    with pytest.raises(SystemExit, match=message):
        parse(Example, PRESETS, "x", "y", line.split())


@pytest.mark.parametrize(
    ("program", "line", "message"),
    [
        (translation, "--depth 2", "--depth must be 1, .*: 2"),
        (any_text, "--data-dir here", "--data-dir here is not read here: name a file by --text"),
        (ptb_char, "--units 5 --parameters 9000", "--units and --parameters both say"),
    ],
)
def test_options_that_would_do_nothing_are_refused(program, line, message):
    with pytest.raises(SystemExit, match=message):
        program.main(line.split())


def test_units_on_the_command_line_take_the_place_of_a_presets_parameters():
    line = ["--preset", "equal_parameters", "--units", "7"]
    config = parse(characters.CharacterConfig, ptb_char.PRESETS, "x", "y", line)
    assert (config.units, config.parameters) == (7, 0)


# What appendix A.3 says of how the networks were trained.
@pytest.mark.parametrize(
    ("program", "preset", "wanted"),
    [
        (ptb_char, "paper", {"dropout": 0.1, "recurrent_dropout": 0.1, "length": 100}),
        (ptb_char, "large_embedding", {"dropout": 0.15, "recurrent_dropout": 0.15, "length": 100}),
        (ptb_char, "two_layers", {"dropout": 0.2, "recurrent_dropout": 0.2, "length": 100}),
        (enwik8, "paper", {"dropout": 0.0, "recurrent_dropout": 0.1, "length": 250}),
        (enwik8, "large", {"recurrent_dropout": 0.15, "hyper_recurrent_dropout": 0.15}),
        (
            handwriting,
            "paper",
            {"output_dropout": 0.05, "recurrent_dropout": 0.05, "scaling": 0.1, "shortest": 300},
        ),
    ],
)
def test_presets_train_as_the_paper_does(program, preset, wanted):
    kind = characters.CharacterConfig
    common = {"batch_size": 128, "learning_rate": 0.001, "clip": 1.0}
    if program is handwriting:
        kind = handwriting.HandwritingConfig
        common = {"batch_size": 32, "learning_rate": 1e-4, "clip": 5.0, "length": 0}
    config = parse(kind, program.PRESETS, "x", "y", ["--preset", preset])
    found = dataclasses.asdict(config)
    assert {**common, **wanted}.items() <= found.items()


def test_every_option_is_explained(capsys):
    with pytest.raises(SystemExit):
        ptb_char.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(characters.CharacterConfig):
        assert f"--{field.name.replace('_', '-')}" in text
        assert field.metadata["help"] in text
    assert "paper: 40000, large_embedding: 40000" in text


def tiny(seed=0):
    """Returns a task with dropout: what it does depends on weights, seeds and step."""

    def make(config):
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        )
        model.compile("adam", "mse", jit_compile=config.jit_compile)

        def batch(step):
            rng = np.random.default_rng((config.seed, step))
            x = rng.normal(size=(8, 4)).astype("float32")
            return x, x.sum(axis=1, keepdims=True)

        def figures():
            x, y = batch(10_000)
            return {"loss": float(np.mean(np.square(model.predict_on_batch(x) - y)))}

        return training.Task(model, batch, figures, figures, monitor="loss")

    return make


class KilledError(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("moment", ["before best", "before checkpoint", "after checkpoint", "test"])
def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path, monkeypatch, moment):
    config = Config(steps=12, evaluate_every=3, batch_size=8, jit_compile=JAX)
    whole = training.run("tiny", dataclasses.replace(config, out=tmp_path / "whole"), tiny())
    assert [line["step"] for line in whole["history"]] == [3, 6, 9, 12]
    # It learned, and not in one step.
    losses = [line["val_loss"] for line in whole["history"]]
    assert losses[-1] < losses[0]

    config = dataclasses.replace(config, out=tmp_path / "killed")
    save, count = training._save, []

    def dying(path, *arrays):
        kind, *_ = path.stem.split("-")
        count.append(kind)
        second = count.count(kind) == 2
        if second and moment == f"before {kind}":
            raise KilledError
        save(path, *arrays)
        if second and moment == f"after {kind}":
            raise KilledError

    def make(config):
        task = tiny()(config)

        def test():
            raise KilledError

        return dataclasses.replace(task, test=test) if moment == "test" else task

    with monkeypatch.context() as patch:
        patch.setattr(training, "_save", dying)
        with pytest.raises(KilledError):
            training.run("tiny", config, make)
    assert not (config.out / "result.json").exists()
    again = training.run("tiny", config, tiny())
    for one, other in zip(whole["history"], again["history"], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert again["test"] == pytest.approx(whole["test"], rel=1e-5)
    assert again["best_step"] == whole["best_step"]


def test_a_finished_run_is_read_and_another_setting_refused(tmp_path):
    config = Config(steps=3, evaluate_every=3, batch_size=8, out=tmp_path, jit_compile=JAX)
    first = training.run("tiny", config, tiny())
    assert training.run("tiny", config, None) == first
    with pytest.raises(SystemExit, match=r"another setting: seed 0 there, 1 here"):
        training.run("tiny", dataclasses.replace(config, seed=1), tiny())
    assert not list(tmp_path.glob(".*"))


def test_a_run_that_diverges_says_so(tmp_path):
    def make(config):
        return dataclasses.replace(tiny()(config), validate=lambda: {"loss": float("nan")})

    config = Config(steps=2, evaluate_every=1, batch_size=8, out=tmp_path, jit_compile=JAX)
    with pytest.raises(SystemExit, match="loss was never a number in .* diverged"):
        training.run("tiny", config, make)


def test_runs_of_different_models_have_different_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for model in ("a", "b"):
        training.run(
            "tiny", Example(steps=1, evaluate_every=1, model=model, jit_compile=JAX), tiny()
        )
    found = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert found == ["tiny-small-a-0", "tiny-small-b-0"]


def test_the_weights_of_the_test_are_the_best_ones(tmp_path):
    figures = iter([0.5, 0.2, 0.9, 0.4])
    seen = []

    def make(config):
        task = tiny()(config)

        def validate():
            seen.append(to_numpy(task.model.trainable_variables[0]))
            return {"loss": next(figures)}

        def test():
            return {"same": float((to_numpy(task.model.trainable_variables[0]) == seen[1]).all())}

        return dataclasses.replace(task, validate=validate, test=test)

    config = Config(steps=4, evaluate_every=1, batch_size=8, out=tmp_path, jit_compile=JAX)
    result = training.run("tiny", config, make)
    assert (result["best_step"], result["validation"]) == (2, {"loss": 0.2})
    assert result["test"] == {"same": 1.0}
    assert (seen[0] != seen[1]).any()


def test_best_weights_that_no_checkpoint_knows_are_not_tested(tmp_path, monkeypatch):
    """A device need not compute twice the same: what comes after a kill may be another course."""
    config = Config(steps=2, evaluate_every=1, batch_size=8, out=tmp_path, jit_compile=JAX)
    seen = []

    def make(figures):
        def made(config):
            task = tiny()(config)

            def weights():
                return to_numpy(task.model.trainable_variables[0])

            def validate():
                seen.append(weights())
                return {"loss": figures.pop(0)}

            def test():
                return {"same": float((weights() == seen[0]).all())}

            return dataclasses.replace(task, validate=validate, test=test)

        return made

    write, count = training.Progress.write, []

    def dying(self, *args):
        count.append(self.step)
        if self.step == 2:
            raise KilledError
        write(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(training.Progress, "write", dying)
        with pytest.raises(KilledError):
            training.run("tiny", config, make([0.5, 0.2]))
    assert count == [1, 2]
    result = training.run("tiny", config, make([0.9]))
    assert (result["best_step"], result["validation"]) == (1, {"loss": 0.5})
    assert result["test"] == {"same": 1.0}
    assert len(list(tmp_path.glob("best*"))) == 1


def numbered(step):
    return np.full((2, 3), step, "float32"), np.full((2,), step, "int32")


def test_batches_come_in_the_order_of_their_steps():
    made = batches(numbered, 5, 9)
    found = [to_numpy(x)[0, 0] for x, _ in getattr(made, "as_numpy_iterator", lambda: made)()]
    assert found == [5, 6, 7, 8]


def test_every_epoch_goes_on_with_the_next_batches():
    seen = []

    class Seen(keras.losses.Loss):
        def call(self, y, outputs):
            return keras.ops.mean(outputs, axis=-1) - keras.ops.cast(y, "float32")

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), Seen(), run_eagerly=not JAX, jit_compile=JAX)

    def batch(step):
        seen.append(step)
        return numbered(step)

    model.layers[0].kernel.assign(np.zeros((3, 1)))
    data = batches(batch, 0, 6)
    history = model.fit(data, steps_per_epoch=2, epochs=3, shuffle=False, verbose=0).history
    # The mean of minus the numbers of the steps: 0 and 1, 2 and 3, 4 and 5.
    np.testing.assert_allclose(history["loss"], [-0.5, -2.5, -4.5], atol=1e-5)
    assert set(seen) == set(range(6))


def test_rows_are_passes_over_all_samples_each_in_a_new_order():
    rows = np.concatenate([shuffled_rows(step, 4, 10, seed=0) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:])
    many = shuffled_rows(1, 25, 10, seed=0)
    np.testing.assert_array_equal(many[:5], shuffled_rows(5, 5, 10, seed=0))


def test_penn_treebank_has_its_symbols_and_line_ends(tmp_path):
    for part, text in (("train", "a _ b\nc _\n"), ("valid", "b a "), ("test", "c _ a\n")):
        (tmp_path / f"ptb.char.{part}.txt").write_text(text)
    with pytest.warns(UserWarning, match="is not the published file"):
        text = texts.penn_treebank(tmp_path)
    assert text.symbols == 5
    assert "".join(text.names[n] for n in text.train) == "a_b\nc_\n"
    # No more line ends than there are.
    assert "".join(text.names[n] for n in text.validation) == "ba"
    assert "".join(text.names[n] for n in text.test) == "c_a\n"


def test_enwik8_is_the_file_of_that_name_and_no_archive_or_folder(tmp_path):
    (tmp_path / "enwik8").mkdir()
    (tmp_path / "enwik8.zip").write_bytes(b"no text")
    with pytest.raises(SystemExit, match="no enwik8 in"):
        texts.enwik8(tmp_path)
    (tmp_path / "enwik8" / "enwik8").write_bytes(bytes(range(40)))
    with pytest.warns(UserWarning, match="is not the published file"):
        text = texts.enwik8(tmp_path)
    assert (text.symbols, len(text.train)) == (40, 36)


def test_a_text_is_divided_in_order():
    text = texts.divided(np.frombuffer(bytes(range(200)), "u1"))
    assert [len(p) for p in (text.train, text.validation, text.test)] == [180, 10, 10]
    np.testing.assert_array_equal(text.test, np.arange(190, 200))
    assert text.symbols == 200


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda path: texts.penn_treebank(path), "no ptb.char.train.txt, ptb.char.valid.txt"),
        (lambda path: texts.enwik8(path), r"no enwik8 in .*mattmahoney"),
        (lambda path: cifar10.load(path), "no data_batch_1, .*cs.toronto.edu"),
        (lambda path: parallel.load(path, "de", "en"), "no train.de in .*multi30k"),
        (lambda path: strokes.load(path), "no lines in .* IAM"),
        (lambda path: source.find(path / "x", ["y"], "Get it."), "x is no directory. Get it."),
        (lambda path: texts.penn_treebank(None), "--data-dir"),
        (lambda path: strokes.load(None), "--data-dir"),
    ],
)
def test_missing_data_are_named_with_where_to_get_them(load, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        load(tmp_path)


def test_cifar10_in_both_versions_of_its_authors(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(256, size=(6, 4, 3072)).astype("u1")
    labels = rng.integers(10, size=(6, 4))
    for kind in ("binary", "python"):
        (tmp_path / kind).mkdir()
    for n, name in enumerate(cifar10.PYTHON):
        table = np.column_stack([labels[n], rows[n]]).astype("u1")
        (tmp_path / "binary" / f"{name}.bin").write_bytes(table.tobytes())
        content = {"data": rows[n], "labels": labels[n].tolist(), "batch_label": "x"}
        (tmp_path / "python" / name).write_bytes(pickle.dumps(content, protocol=2))
    with pytest.warns(UserWarning, match="is not the published file"):
        binary, python = (cifar10.load(tmp_path / kind) for kind in ("binary", "python"))
    for one, other in zip(keras.tree.flatten(binary), keras.tree.flatten(python), strict=True):
        np.testing.assert_array_equal(one, other)
    (images, found), (test, _) = binary
    assert images.shape == (20, 32, 32, 3)
    assert test.shape == (4, 32, 32, 3)
    np.testing.assert_array_equal(found, labels[:5].ravel())
    # Planes of red, green and blue, each row by row.
    assert images[0, 2, 5, 1] == rows[0, 0, 1024 + 2 * 32 + 5]


def test_a_pickle_that_would_run_a_program_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(pickle.UnpicklingError, match="no place in CIFAR-10"):
        cifar10._python(path)


LINE = """<?xml version="1.0"?><WhiteboardCaptureSession><StrokeSet>
<Stroke><Point x="10" y="20"/><Point x="13" y="24"/></Stroke>
<Stroke><Point x="{x}" y="24"/></Stroke></StrokeSet></WhiteboardCaptureSession>"""


def test_handwriting_from_files_of_both_kinds(tmp_path):
    for name in ("a01-000u-01", "a02-000u-01", "z01-000z-01"):
        (tmp_path / f"{name}.xml").write_text(LINE.format(x=20))
    train, validation, split = strokes.load(tmp_path)
    assert split == "every tenth form"
    assert len(train) == len(validation) == 1
    # How the pen came to the first point is not known. Each coordinate has its own deviation.
    scale = [np.std([0, 3, 7]), np.std([0, 4, 0]), 1]
    wanted = np.array([[0, 0, 0], [3, 4, 1], [7, 0, 1]]) / scale
    np.testing.assert_allclose(train[0], wanted, rtol=1e-6)

    (tmp_path / "npz").mkdir()
    columns = {"dx": [0, 3, 7] * 2, "dy": [0, 4, 0] * 2, "eos": [0, 1, 1] * 2}
    ids = np.array(["a01-000u-01", "a02-000u-01"])
    np.savez(tmp_path / "npz" / "lines.npz", off=[0, 3, 6], ids=ids, **columns)
    again, _, _ = strokes.load(tmp_path / "npz")
    np.testing.assert_allclose(again[0], train[0], rtol=1e-6)


def test_the_deviation_of_many_movements_is_exact(tmp_path, rng):
    moves = rng.normal(8, 40, (400_000, 2)).clip(-500, 500).astype("float32")
    columns = {"dx": moves[:, 0], "dy": moves[:, 1], "eos": np.zeros(400_000)}
    # The first form is chosen on.
    ids = np.array(["a01-000u-01", "a02-000u-01"])
    np.savez(tmp_path / "lines.npz", off=[0, 10, 400_000], ids=ids, **columns)
    (line,), _, _ = strokes.load(tmp_path)
    found = line[:, :2].std(axis=0, dtype="float64")
    np.testing.assert_allclose(found, 1, rtol=1e-6)


def test_the_split_of_graves_learns_from_three_lists_and_chooses_on_one(tmp_path):
    lists = ("trainset.txt", "testset_t.txt", "testset_f.txt", "testset_v.txt")
    for n in range(5):
        (tmp_path / f"a0{n}-000u-01.xml").write_text(LINE.format(x=20 + n))
    for n, name in enumerate(lists[:3]):
        (tmp_path / name).write_text(f"a0{n}-000u\n")
    with pytest.raises(SystemExit, match="testset_v.txt of .* missing"):
        strokes.load(tmp_path)
    (tmp_path / lists[3]).write_text("a03-000u\n")
    # The fourth form is the one that is chosen on, the fifth in no list.
    train, validation, split = strokes.load(tmp_path)
    assert split == "Graves (2013)"
    last = [line[-1, 0] / train[0][-1, 0] for line in (*train, *validation)]
    np.testing.assert_allclose(last, [1, 8 / 7, 9 / 7, 10 / 7], rtol=1e-6)
    assert len(validation) == 1

    (tmp_path / lists[3]).write_text("b01-000u\n")
    with pytest.raises(SystemExit, match="3 lines to learn from and 0 to choose on"):
        strokes.load(tmp_path)


def test_the_density_of_pen_movements_is_that_of_its_mixture(rng):
    outputs = rng.normal(size=(2, 3, 121)).astype("float32")
    targets = rng.normal(size=(2, 3, 4)).astype("float32")
    targets[..., 2] = rng.integers(2, size=(2, 3))
    targets[..., 3] = [[1, 1, 1], [1, 1, 0]]
    found = to_numpy(handwriting.nats(targets, keras.ops.convert_to_tensor(outputs)))
    for row, column in np.ndindex(2, 3):
        x, y, lifted, weight = targets[row, column].astype("float64")
        values = outputs[row, column, :-1].astype("float64").reshape(6, 20)
        chances = np.exp(values[0]) / np.exp(values[0]).sum()
        density = 0.0
        for n in range(20):
            deviations, r = np.exp(values[3:5, n]), 0.999 * np.tanh(values[5, n])
            covariance = np.outer(deviations, deviations) * [[1, r], [r, 1]]
            away = np.array([x, y]) - values[1:3, n]
            power = away @ np.linalg.inv(covariance) @ away
            normal = np.exp(-power / 2) / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
            density += chances[n] * normal
        pen = 1 / (1 + np.exp(-float(outputs[row, column, -1])))
        wanted = -weight * (np.log(density) + np.log(pen if lifted else 1 - pen))
        assert found[row, column] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_the_figure_of_handwriting_is_the_sum_of_a_lines_points():
    config = parse(
        handwriting.HandwritingConfig, handwriting.PRESETS, "x", "y", ["--preset", "smoke"]
    )
    task = handwriting.task(dataclasses.replace(config, jit_compile=False))
    _, lines, _ = strokes.generated()
    totals = []
    for line in lines:
        # One by one, without anything to fill them up.
        targets = np.column_stack([line[1:], np.ones(len(line) - 1)])[None].astype("float32")
        outputs = keras.ops.convert_to_tensor(task.model.predict_on_batch(line[None, :-1]))
        each = to_numpy(handwriting.nats(targets, outputs))
        totals.append(each.sum(dtype="float64"))
        # What is trained on is their mean.
        found = to_numpy(handwriting.loss(targets, outputs))
        np.testing.assert_allclose(found, [each.mean(dtype="float64")], rtol=1e-4)
    assert task.validate()["nats"] == pytest.approx(np.mean(totals), rel=1e-4)


def test_points_are_drawn_from_the_same_mixture():
    outputs = np.zeros(121)
    outputs[0] = 30.0  # All weight on the first normal distribution,
    outputs[20], outputs[40] = 2.0, -1.0  # its means,
    outputs[60], outputs[80] = np.log(0.5), np.log(2.0)  # its deviations,
    outputs[100] = np.arctanh(0.6 / 0.999)  # its correlation,
    outputs[120] = np.log(0.2 / 0.8)  # and the pen.
    rng = np.random.default_rng(0)
    points = np.stack([handwriting.drawn(outputs, rng) for _ in range(4000)])
    np.testing.assert_allclose(points.mean(axis=0), [2.0, -1.0, 0.2], atol=0.1)
    np.testing.assert_allclose(points[:, :2].std(axis=0), [0.5, 2.0], rtol=0.05)
    assert np.corrcoef(points[:, 0], points[:, 1])[0, 1] == pytest.approx(0.6, abs=0.05)


def test_lines_are_filled_up_with_points_of_no_weight():
    lines = [np.arange(12, dtype="float32").reshape(4, 3), np.ones((3, 3), "float32")]
    x, y = handwriting.padded(lines, length=5)
    assert x.shape == (2, 5, 3)
    np.testing.assert_array_equal(y[..., 3], [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(x[0, 1:3], y[0, :2, :3])
    assert handwriting.padded(lines)[0].shape[1] == 100


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


def test_parallel_files_are_read_packed_or_not(tmp_path):
    for part in ("train", "val", "test_2016_flickr"):
        (tmp_path / f"{part}.de").write_text(f"ein {part}\nzwei\n")
        (tmp_path / f"{part}.en.gz").write_bytes(gzip.compress(f"one {part}\ntwo\n".encode()))
    train, _, test = parallel.load(tmp_path, "de", "en")
    assert train == [("ein train", "one train"), ("zwei", "two")]
    assert test[0][1] == "one test_2016_flickr"


@pytest.mark.parametrize("how", ["none", "crop", "stretch"])
def test_augmented_digits_are_the_same_digits_at_another_place(how, rng):
    images = np.zeros((50, 28, 28, 1), "float32")
    images[:, 10:18, 12:16] = 1
    found = mnist_static.augment(images, how, rng)
    assert found.shape == images.shape
    if how == "none":
        assert found is images
        return
    ink = found.sum(axis=(1, 2, 3))
    assert (ink == 32).all() if how == "crop" else (ink >= 32).all()
    tops = {int(np.flatnonzero(image[..., 0].any(axis=1))[0]) for image in found}
    assert tops == {9, 10, 11} if how == "crop" else len(tops) >= 3


def test_augmented_pictures_are_moved_and_mirrored(rng):
    images = np.zeros((200, 32, 32, 3), "float32")
    images[:, 10, 5] = 1
    found = cifar10_wrn.augment(images, rng)
    rows, columns = np.nonzero(found.any(axis=-1).any(axis=0))
    assert set(rows) == {8, 9, 10, 11, 12}
    assert set(columns) == {3, 4, 5, 6, 7, 24, 25, 26, 27, 28}


@pytest.mark.parametrize(
    ("preset", "rates"),
    [
        ("paper", {0: 0.1, 27_999: 0.1, 28_001: 0.02, 84_001: 0.0008, 139_999: 0.00016}),
        ("paper_generated", {0: 0.002, 168_001: 0.001, 336_001: 0.0002, 671_999: 0.00005}),
    ],
)
def test_wide_residual_networks_learn_at_the_rates_of_the_paper(preset, rates):
    config = parse(cifar10_wrn.WrnConfig, cifar10_wrn.PRESETS, "x", "y", ["--preset", preset])
    schedule = cifar10_wrn.optimizer(config).get_config()["learning_rate"]
    rate = keras.saving.deserialize_keras_object(schedule)
    for step, wanted in rates.items():
        assert float(rate(step)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("model", ["ordinary", "generated"])
def test_the_penalty_is_of_kernels_stored_or_generated(model):
    config = cifar10_wrn.WrnConfig(model=model, blocks=1)
    network = cifar10_wrn.build(config)
    network(np.zeros((1, 32, 32, 3), "float32"))
    squares = 0.0
    for layer in network.layers:
        if isinstance(layer, HyperConv2D):
            squares += np.square(to_numpy(layer.generate()["kernel"])).sum()
        elif isinstance(layer, keras.layers.Conv2D):
            squares += np.square(to_numpy(layer.kernel)).sum()
    assert squares > 0
    # 0.0005 times half of the squares.
    found = sum(float(loss) for loss in network.losses)
    assert found == pytest.approx(0.00025 * squares, rel=1e-4)


def test_a_rate_falls_down_to_its_floor():
    rate = mnist_static.FloorDecay(0.1, 0.5, 0.02)
    found = [float(rate(step)) for step in range(4)]
    assert found == pytest.approx([0.1, 0.05, 0.025, 0.02])


def test_channels_grow_by_zeros(rng):
    x = rng.normal(size=(2, 3, 3, 4)).astype("float32")
    y = to_numpy(cifar10_wrn.MoreChannels(8)(x))
    np.testing.assert_array_equal(y[..., 2:6], x)
    assert not y[..., :2].any()
    assert not y[..., 6:].any()


def result(model, seed, bits, **setting):
    return {
        "experiment": "ptb_char",
        "setting": {"preset": "small", "model": model, "seed": seed, "steps": 10, "batch_size": 4}
        | {"depth": 1}
        | setting,
        "parameters": 1234,
        "best_step": 10,
        "validation": {"bits": bits + 0.1},
        "test": {"bits": bits},
        "seconds": 120,
        "history": [{"step": 5, "val_bits": bits + 1}, {"step": 10, "val_bits": bits + 0.1}],
        "command": f"python -m experiments.ptb_char --model {model} --seed {seed}",
        "commit": "abc",
        "cpu": "a processor",
        "versions": {"keras": "3"},
    }


def test_a_report_has_a_row_for_what_differs_in_the_seed_alone(tmp_path, monkeypatch, capsys):
    results = [result("LSTM", 0, 2.0), result("LSTM", 1, 2.2), result("LSTM", 0, 1.9, depth=2)]
    results.insert(0, result("HyperLSTM", 0, 1.8))
    for n, one in enumerate(results):
        (tmp_path / f"{n}.json").write_text(json.dumps(one))
    begin, end = (mark.format(name="ptb_char_small") for mark in report.MARKS)
    (tmp_path / "results.md").write_text(f"Before.\n\n{begin}\nold\n{end}\nAfter.\n")
    command = ["report", *(str(tmp_path / f"{n}.json") for n in range(4))]
    monkeypatch.setattr(sys, "argv", command)
    report.main()
    text = capsys.readouterr().out
    assert "| LSTM, depth 1 | 1,234 | 2 | 2.100 ± 0.141 | 2.200 ± 0.141 | 10 | 2 | 1.312 |" in text
    assert "| LSTM, depth 2 | 1,234 | 1 | 1.900 | 2.000 | 10 | 2 |  |" in text
    # In the order of the paper.
    assert text.index("| LSTM") < text.index("| HyperLSTM")
    assert "python -m experiments.ptb_char --model LSTM --data-dir DIR --seed N\n" in text

    monkeypatch.setattr(sys, "argv", [*command, "--write", str(tmp_path)])
    report.main()
    page = (tmp_path / "results.md").read_text()
    assert page.startswith("Before.")
    assert page.endswith("After.\n")
    assert "old" not in page
    assert text.strip() in page
    first = (tmp_path / "results_ptb_char_small.svg").read_text()
    assert "<!-- bits per character, validation -->" in first
    assert "<!-- HyperLSTM, depth 1 -->" in first
    report.main()
    assert (tmp_path / "results_ptb_char_small.svg").read_text() == first
    (tmp_path / "4.json").write_text((tmp_path / "1.json").read_text())
    with pytest.raises(SystemExit, match="two runs of python -m experiments.ptb_char"):
        report.grouped(report.read([tmp_path]))
    (tmp_path / "results.md").write_text("No marks.")
    with pytest.raises(SystemExit, match="has no <!-- experiments.report: ptb_char_small"):
        report.main()


def test_of_several_learning_rates_the_best_is_set_in_bold_and_drawn(tmp_path):
    results = [
        # Best with its first seed, not on average.
        result("LSTM", 0, 2.0, learning_rate=0.01),
        result("LSTM", 1, 2.6, learning_rate=0.01),
        result("LSTM", 0, 2.2, learning_rate=0.003),
        result("LSTM", 1, 2.2, learning_rate=0.003),
        # Best on the test data, not on the validation data.
        result("LSTM", 0, 1.5, learning_rate=0.03) | {"validation": {"bits": 2.4}},
        result("LSTM", 1, 1.5, learning_rate=0.03) | {"validation": {"bits": 2.4}},
        # Best with its only seed.
        result("LSTM", 0, 1.0, learning_rate=0.02),
        result("HyperLSTM", 0, 1.9, learning_rate=0.003),
    ]
    (rows,) = report.grouped(results).values()
    text = report.table("ptb_char_small", rows)
    bold = [line.split(" | ")[0] for line in text.splitlines() if "**" in line]
    assert bold == ["| **LSTM, learning rate 0.003**"]
    assert "| LSTM, learning rate 0.01 |" in text
    assert "Bold" in text
    (alone,) = report.grouped(results[:2]).values()
    assert "Bold" not in report.table("ptb_char_small", alone)
    report.curves(rows, tmp_path / "curves.svg")
    drawn = (tmp_path / "curves.svg").read_text()
    assert "<!-- LSTM, learning rate 0.003 -->" in drawn
    assert "<!-- HyperLSTM, learning rate 0.003 -->" in drawn
    assert "<!-- LSTM, learning rate 0.01 -->" not in drawn


def test_a_command_is_kept_without_the_directories_of_whoever_ran_it(monkeypatch):
    line = "x/ptb_char.py --model=LSTM --data-dir /home/me --seed 1 --out=/tmp/x --text /home/a.txt"
    monkeypatch.setattr(sys, "argv", line.split())
    found = about(["pytest"])
    backend = keras.backend.backend()
    chosen = "" if backend == "tensorflow" else f"KERAS_BACKEND={backend} "
    told = f"{chosen}python -m experiments.ptb_char --model LSTM --seed 1 --text a.txt"
    assert found["command"] == told
    assert found["versions"]["pytest"] == pytest.__version__
    assert keras.__version__ == found["versions"]["keras"]
