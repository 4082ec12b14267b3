"""Options of the command line, and presets."""

import dataclasses

import pytest

from experiments import characters, enwik8, handwriting, ptb_char, translation
from experiments import text as any_text
from experiments.config import Config, option, parse


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
